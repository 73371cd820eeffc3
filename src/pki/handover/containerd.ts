// Hands over to containerd, and nerdctl with it: a hosts.toml for each registry. Its form is the same from 1.5 to 2.x; the
// table that points the CRI plugin at the folder is not.
import {
  hostNames,
  hostsToml,
  keyStep,
  pairFiles,
  pairPaths,
  sampleImage,
  type Handover,
  type HandoverInput,
} from './handover.ts'

const folder = 'etc/containerd'
const certificates = 'portcullis'

export function containerdHandover(input: HandoverInput): Handover {
  const { name, registries, gateway } = input
  const paths = pairPaths(`/${folder}/${certificates}`, name)
  return {
    files: [
      ...pairFiles(input, `${folder}/${certificates}`),
      ...hostNames(input).map((host) => ({
        path: `${folder}/certs.d/${host}/hosts.toml`,
        content: hostsToml(gateway, paths),
        mode: 0o644,
      })),
    ],
    steps: [
      ...keyStep(input, paths.key),
      `# for Kubernetes, in /${folder}/config.toml: config_path = "/${folder}/certs.d" in the table`,
      '#   [plugins."io.containerd.grpc.v1.cri".registry]     of containerd 1.5 to 1.7',
      '#   [plugins."io.containerd.cri.v1.images".registry]   of containerd 2.x',
    ],
    test: `ctr images pull --hosts-dir /${folder}/certs.d ${sampleImage(registries)}`,
  }
}
