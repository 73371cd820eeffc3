// Hands over to docker: certificates in a folder that is named after the gateway, which the classic
// image store reads, and a hosts.toml for each registry, which the containerd image store reads.
import {
  hostNames,
  hostsToml,
  keyStep,
  pairFiles,
  sampleImage,
  type Handover,
  type HandoverInput,
} from './handover.ts'

const certs = 'etc/docker/certs.d'

export function dockerHandover(input: HandoverInput): Handover {
  const { gateway, registries } = input
  const folder = `${certs}/${gateway.host}`
  // The pair is in the gateway's folder only: the classic store shows it to whom the folder names.
  const hosts = hostsToml(gateway, {
    ca: `../${gateway.host}/ca.crt`,
    certificate: `../${gateway.host}/client.cert`,
    key: `../${gateway.host}/client.key`,
  })
  return {
    files: [
      ...pairFiles(input, folder, {
        ca: 'ca.crt',
        certificate: 'client.cert',
        key: 'client.key',
      }),
      ...hostNames(input).map((host) => ({
        path: `${certs}/${host}/hosts.toml`,
        content: hosts,
        mode: 0o644,
      })),
    ],
    steps: keyStep(input, `/${folder}/client.key`),
    test: `docker pull ${gateway.host}/${sampleImage(registries)}`,
  }
}
