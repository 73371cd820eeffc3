// Hand-over to docker: certificates in a folder that is named after the gateway.
import { keyStep, pairFiles, sampleImage, type Handover, type HandoverInput } from './handover.ts'

export function dockerHandover(input: HandoverInput): Handover {
  const { gateway, registries } = input
  const folder = `etc/docker/certs.d/${gateway.host}`
  return {
    files: pairFiles(input, folder, {
      ca: 'ca.crt',
      certificate: 'client.cert',
      key: 'client.key',
    }),
    steps: keyStep(input, `/${folder}/client.key`),
    test: `docker pull ${gateway.host}/${sampleImage(registries)}`,
  }
}
