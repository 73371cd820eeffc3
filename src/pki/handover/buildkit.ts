// Hands over to BuildKit, by itself or below docker buildx: mirrors in its buildkitd.toml.
import {
  keyStep,
  pairFiles,
  pairPaths,
  sampleImage,
  tomlText,
  type Handover,
  type HandoverInput,
} from './handover.ts'

const folder = 'etc/buildkit'
const certificates = 'portcullis'

export function buildkitHandover(input: HandoverInput): Handover {
  const { name, gateway, registries } = input
  const { ca, certificate, key } = pairPaths(`/${folder}/${certificates}`, name)
  const mirrors = registries.filter((registry) => registry !== gateway.host)
  const own = tomlText(gateway.host)
  const content = [
    ...mirrors.map(
      (registry) => `[registry.${tomlText(registry)}]\n  mirrors = [${tomlText(gateway.host)}]\n`,
    ),
    // Without `http` it asks a gateway on its own machine in plain text.
    `[registry.${own}]
  http = false
  ca = [${tomlText(ca)}]
  [[registry.${own}.keypair]]
    cert = ${tomlText(certificate)}
    key = ${tomlText(key)}
`,
  ].join('\n')
  const image = sampleImage(registries)
  return {
    files: [
      ...pairFiles(input, `${folder}/${certificates}`),
      { path: `${folder}/buildkitd.toml`, content, mode: 0o644 },
    ],
    steps: [
      ...keyStep(input, key),
      '# buildkitd by itself: restart it',
      `docker buildx create --name portcullis --use --buildkitd-config /${folder}/buildkitd.toml`,
      '# it falls back on the registry itself where the gateway refuses',
    ],
    test: `echo FROM ${image} | docker buildx build -`,
  }
}
