// Hand-over to containerd: a hosts.toml for each registry. Its form is the same from 1.5 to 2.x; the
// table that points the CRI plugin at the folder is not.
import { keyStep, pairFiles, sampleImage, type Handover, type HandoverInput } from './handover.ts'

const folder = 'etc/containerd'
const certificates = 'portcullis'

export function containerdHandover(input: HandoverInput): Handover {
  const { name, registries } = input
  const key = `/${folder}/${certificates}/${name}.key`
  return {
    files: [
      ...pairFiles(input, `${folder}/${certificates}`, {
        ca: 'ca.crt',
        certificate: `${name}.crt`,
        key: `${name}.key`,
      }),
      ...registries.map((registry) => ({
        path: `${folder}/certs.d/${registry}/hosts.toml`,
        content: hostsToml(input.gateway, `/${folder}/${certificates}`, name),
        mode: 0o644,
      })),
    ],
    steps: [
      ...keyStep(input, key),
      `# for Kubernetes, in /${folder}/config.toml: config_path = "/${folder}/certs.d" in the table`,
      '#   [plugins."io.containerd.grpc.v1.cri".registry]     of containerd 1.5 to 1.7',
      '#   [plugins."io.containerd.cri.v1.images".registry]   of containerd 2.x',
    ],
    test: `ctr images pull --hosts-dir /${folder}/certs.d ${sampleImage(registries)}`,
  }
}

/**
 * The gateway is `server` too: otherwise containerd asks the registry itself whenever the gateway
 * refuses. `certificateFolder` is where the node has `ca.crt`, `<name>.crt` and `<name>.key`.
 */
export function hostsToml({ origin }: URL, certificateFolder: string, name: string): string {
  return `server = "${origin}"

[host."${origin}"]
  capabilities = ["pull", "resolve"]
  ca = "${certificateFolder}/ca.crt"
  client = [["${certificateFolder}/${name}.crt", "${certificateFolder}/${name}.key"]]
`
}
