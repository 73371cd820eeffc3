// Hands over to the nodes of a Kubernetes cluster with containerd: a Secret with the files, and a
// DaemonSet that puts them onto every node and keeps them up to date with the Secret.
import { stringify } from 'yaml'
import { UsageError } from '../../errors.ts'
import {
  hostNames,
  hostsToml,
  pairPaths,
  sampleImage,
  type Handover,
  type HandoverInput,
} from './handover.ts'

const namespace = 'kube-system'
const labels = { 'app.kubernetes.io/name': 'portcullis-node' }
const usualImage = 'docker.io/library/busybox:1.37'

/** Copies what differs, each file by a rename. The hidden entries are the Secret's own bookkeeping. */
export const installScript = `set -eu
umask 022
while :; do
  cd "$SOURCE"
  find -L . -type f ! -path './..*' | while read -r file; do
    cmp -s "$file" "$TARGET/$file" && continue
    mkdir -p "$TARGET/\${file%/*}"
    cp "$file" "$TARGET/$file.new"
    mv "$TARGET/$file.new" "$TARGET/$file"
    echo "installed $file"
  done
  sleep 30
done
`

export function kubernetesHandover(input: HandoverInput): Handover {
  const { name, gateway, registries, image = usualImage, caPem, chainPem, keyPem } = input
  if (keyPem === undefined) {
    const message = 'kubernetes needs the key for its Secret: issue the certificate without --csr'
    throw new UsageError([{ path: '--for', message }])
  }
  const hosts = hostsToml(gateway, pairPaths('/etc/containerd/portcullis', name))
  const contents: [key: string, path: string, text: string][] = [
    ['ca.crt', 'portcullis/ca.crt', caPem],
    ['tls.crt', `portcullis/${name}.crt`, chainPem],
    ['tls.key', `portcullis/${name}.key`, keyPem],
    ...hostNames(input).map((host): [string, string, string] => [
      `${host.replaceAll(/[^-._a-zA-Z0-9]/g, '_')}.hosts.toml`,
      `certs.d/${host}/hosts.toml`,
      hosts,
    ]),
  ]
  const stringData = Object.fromEntries(contents.map(([key, , text]) => [key, text]))
  const items = contents.map(([key, path]) => ({ key, path }))
  const documents = [secretOf(stringData), daemonSetOf(items, image)]
  return {
    files: [
      {
        path: 'portcullis-node.yaml',
        content: documents.map((one) => stringify(one)).join('---\n'),
        mode: 0o600,
      },
    ],
    steps: [
      'kubectl apply -f portcullis-node.yaml',
      '# containerd needs config_path = "/etc/containerd/certs.d", as kubeadm leaves it to you',
    ],
    test:
      'kubectl run portcullis-test --rm --attach --restart=Never ' +
      `--image-pull-policy=Always --image=${sampleImage(registries)} -- true`,
  }
}

function secretOf(stringData: Record<string, string>) {
  return {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name: 'portcullis-node', namespace, labels },
    type: 'Opaque',
    stringData,
  }
}

function daemonSetOf(items: { key: string; path: string }[], image: string) {
  return {
    apiVersion: 'apps/v1',
    kind: 'DaemonSet',
    metadata: { name: 'portcullis-node', namespace, labels },
    spec: {
      selector: { matchLabels: labels },
      template: {
        metadata: { labels },
        spec: {
          automountServiceAccountToken: false,
          priorityClassName: 'system-node-critical',
          tolerations: [{ operator: 'Exists' }],
          containers: [installer(image)],
          volumes: [
            { name: 'files', secret: { secretName: 'portcullis-node', defaultMode: 0o600, items } },
            { name: 'node', hostPath: { path: '/etc/containerd', type: 'DirectoryOrCreate' } },
          ],
        },
      },
    },
  }
}

function installer(image: string) {
  return {
    name: 'install',
    image,
    command: ['sh', '-c', installScript],
    env: [
      { name: 'SOURCE', value: '/files' },
      { name: 'TARGET', value: '/node' },
    ],
    resources: { requests: { cpu: '5m', memory: '8Mi' }, limits: { memory: '32Mi' } },
    securityContext: {
      runAsUser: 0,
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
    },
    volumeMounts: [
      { name: 'files', mountPath: '/files', readOnly: true },
      { name: 'node', mountPath: '/node' },
    ],
  }
}
