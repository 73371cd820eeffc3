// Hand-over to k3s and RKE2, which write containerd's configuration from a registries.yaml.
import { stringify } from 'yaml'
import { keyStep, pairFiles, sampleImage, type Handover, type HandoverInput } from './handover.ts'

const folder = 'etc/rancher/k3s'

export function k3sHandover(input: HandoverInput): Handover {
  const { name, gateway, registries } = input
  const at = (file: string) => `/${folder}/portcullis/${file}`
  const content = stringify({
    mirrors: Object.fromEntries(
      registries.map((registry) => [registry, { endpoint: [gateway.origin] }]),
    ),
    configs: {
      [gateway.host]: {
        tls: { ca_file: at('ca.crt'), cert_file: at(`${name}.crt`), key_file: at(`${name}.key`) },
      },
    },
  })
  return {
    files: [
      ...pairFiles(input, `${folder}/portcullis`, {
        ca: 'ca.crt',
        certificate: `${name}.crt`,
        key: `${name}.key`,
      }),
      { path: `${folder}/registries.yaml`, content, mode: 0o600 },
    ],
    steps: [
      ...keyStep(input, at(`${name}.key`)),
      '# k3s falls back on the registry itself unless it runs with --disable-default-registry-endpoint',
      'systemctl restart k3s || systemctl restart k3s-agent',
    ],
    test: `k3s crictl pull ${sampleImage(registries)}`,
  }
}
