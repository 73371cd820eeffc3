// Hands over to k3s and RKE2, which write containerd's configuration from a registries.yaml.
import { stringify } from 'yaml'
import {
  keyStep,
  pairFiles,
  pairPaths,
  sampleImage,
  type Handover,
  type HandoverInput,
} from './handover.ts'

export function k3sHandover(input: HandoverInput): Handover {
  return rancherHandover(input, {
    folder: 'etc/rancher/k3s',
    restart: 'systemctl restart k3s || systemctl restart k3s-agent',
    crictl: 'k3s crictl',
  })
}

export function rke2Handover(input: HandoverInput): Handover {
  const data = '/var/lib/rancher/rke2'
  return rancherHandover(input, {
    folder: 'etc/rancher/rke2',
    restart: 'systemctl restart rke2-server || systemctl restart rke2-agent',
    crictl: `${data}/bin/crictl --config ${data}/agent/etc/crictl.yaml`,
  })
}

function rancherHandover(
  input: HandoverInput,
  { folder, restart, crictl }: { folder: string; restart: string; crictl: string },
): Handover {
  const { name, gateway, registries } = input
  const { ca, certificate, key } = pairPaths(`/${folder}/portcullis`, name)
  const content = stringify({
    mirrors: Object.fromEntries(
      registries.map((registry) => [registry, { endpoint: [gateway.origin] }]),
    ),
    configs: {
      [gateway.host]: { tls: { ca_file: ca, cert_file: certificate, key_file: key } },
    },
  })
  return {
    files: [
      ...pairFiles(input, `${folder}/portcullis`),
      { path: `${folder}/registries.yaml`, content, mode: 0o600 },
    ],
    steps: [
      ...keyStep(input, key),
      '# nodes fall back on the registry itself unless they run with --disable-default-registry-endpoint',
      restart,
    ],
    test: `${crictl} pull ${sampleImage(registries)}`,
  }
}
