// Hands over to podman, CRI-O, skopeo and buildah, which share their configuration.
import {
  keyStep,
  pairFiles,
  sampleImage,
  tomlText,
  type Handover,
  type HandoverInput,
} from './handover.ts'

export function podmanHandover(input: HandoverInput): Handover {
  const { gateway, registries } = input
  const folder = `etc/containers/certs.d/${gateway.host}`
  return {
    files: [
      ...pairFiles(input, folder, { ca: 'ca.crt', certificate: 'client.cert', key: 'client.key' }),
      {
        path: 'etc/containers/registries.conf.d/portcullis.conf',
        content: registries.map((registry) => redirection(registry, gateway)).join('\n'),
        mode: 0o644,
      },
    ],
    steps: [...keyStep(input, `/${folder}/client.key`), '# CRI-O: systemctl reload crio'],
    test: `podman pull ${sampleImage(registries)}`,
  }
}

function redirection(registry: string, { host }: URL): string {
  return `[[registry]]
prefix = ${tomlText(registry)}
location = ${tomlText(`${host}/${registry}`)}
`
}
