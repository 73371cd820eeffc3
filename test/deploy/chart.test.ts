// The Helm chart: what its values may be, what comes of each example, and what it puts onto a node.
import { execFileSync, spawnSync } from 'node:child_process'
import { globSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import t, { type Test } from 'tap'
import Schema from 'typebox/schema'
import { parse, parseAllDocuments } from 'yaml'
import { createMetrics } from '../../src/admin/metrics.ts'
import { loadConfig } from '../../src/config/load.ts'
import { optionsFor } from '../requirements.ts'

interface Manifest {
  apiVersion: string
  kind: string
  metadata: { name: string }
  data?: Record<string, string>
  spec?: { template?: { spec: PodSpec } }
}

interface PodSpec {
  automountServiceAccountToken: boolean
  containers: {
    image: string
    securityContext: Record<string, unknown>
    volumeMounts: { name: string }[]
  }[]
  volumes: { name: string }[]
}

const root = join(import.meta.dirname, '../..')
const chart = join(root, 'deploy/helm/portcullis')
const examples = globSync('deploy/helm/examples/*.yaml', { cwd: root }).map((file) =>
  join(root, file),
)
const read = (file: string) => readFileSync(file, 'utf8')

t.test('the schema takes the default values and every example, and nothing else', async (t) => {
  const schema = Schema.Compile(JSON.parse(read(join(chart, 'values.schema.json'))) as object)
  t.ok(examples.length > 0)
  for (const file of [join(chart, 'values.yaml'), ...examples]) {
    t.ok(schema.Check(parse(read(file))), file)
    t.match(read(file), /^# \S/, 'says what it is for')
  }
  for (const wrong of [
    { replicas: 0 },
    { autoscaling: { bytesInFlight: 'much' } },
    { sevice: {} },
    { tls: { secretName: 'x', clientAuth: 'maybe' } },
    { nodes: { gateway: 'http://plain' } },
    { cache: { persistence: { size: 'large' } } },
  ]) {
    t.notOk(schema.Check(wrong), JSON.stringify(wrong))
  }
})

t.test('the files for a node: laid out, taken up anew, never half', async (t) => {
  const folder = t.testdir({
    certificate: { 'ca.crt': 'ca', 'tls.crt': 'one', 'tls.key': 'key' },
    config: { 'hosts.toml': 'server = "x"\n' },
    node: {},
  })
  const target = join(folder, 'node')
  const install = () =>
    execFileSync('sh', [join(chart, 'files/install-node.sh')], {
      encoding: 'utf8',
      env: {
        ...process.env,
        SOURCE: folder,
        TARGET: target,
        REGISTRIES: 'docker.io quay.io',
        ONCE: '1',
      },
    })
  t.match(install(), /installed .*tls\.key\ninstalled .*tls\.crt/)
  t.equal(read(join(target, 'certs.d/quay.io/hosts.toml')), 'server = "x"\n')
  t.equal(statSync(join(target, 'portcullis/tls.key')).mode & 0o777, 0o600)
  t.equal(install(), '', 'nothing to do')
  writeFileSync(join(folder, 'certificate/tls.crt'), 'two')
  t.match(install(), /^installed .*tls\.crt\n$/)
  t.equal(read(join(target, 'portcullis/tls.crt')), 'two')
})

for (const file of examples) {
  t.test(`helm: ${basename(file)}`, optionsFor('chart'), async (t) => {
    t.match(helm('lint', chart, '--values', file).stdout, '0 chart(s) failed')
    const manifests = render('--values', file)
    for (const { kind, metadata, spec } of manifests) {
      if (spec?.template !== undefined) checkPod(t, `${kind} ${metadata.name}`, spec.template.spec)
    }
    const config = find(manifests, 'ConfigMap', 'site-portcullis').data?.['gateway.yaml'] ?? ''
    const folder = t.testdir({ 'gateway.yaml': config })
    t.match(await loadConfig(join(folder, 'gateway.yaml')), {
      listen: { port: 5443, tls: { cert: '/etc/portcullis/tls/tls.crt' } },
      cache: { dir: '/var/lib/portcullis' },
    })
  })
}

// A chart holds all that it needs, and packages hold no links.
t.test('the copies in the chart are up to date: `cp` writes them', async (t) => {
  const files = {
    'rules.yaml': 'prometheus/portcullis.rules.yaml',
    'dashboard.json': 'grafana/portcullis.json',
  }
  for (const [copy, original] of Object.entries(files)) {
    t.equal(read(join(chart, 'files', copy)), read(join(root, 'deploy', original)), original)
  }
})

t.test('helm: rules and dashboard are those of deploy', optionsFor('chart'), async (t) => {
  const manifests = render('--values', join(root, 'deploy/helm/examples/cert-manager.yaml'))
  const rules = parse(read(join(root, 'deploy/prometheus/portcullis.rules.yaml'))) as object
  t.same(find(manifests, 'PrometheusRule', 'site-portcullis').spec, rules)
  const { data = {} } = find(manifests, 'ConfigMap', 'site-portcullis-dashboard')
  t.equal(data['portcullis.json'], read(join(root, 'deploy/grafana/portcullis.json')))
})

t.test('helm: replicas find each other', optionsFor('chart'), async (t) => {
  const values = ['--values', join(root, 'deploy/helm/examples/replicas.yaml')]
  const manifests = render('--namespace', 'edge', ...values)
  const config = find(manifests, 'ConfigMap', 'site-portcullis').data?.['gateway.yaml'] ?? ''
  const { replicas, listen } = parse(config) as { replicas: object; listen: object }
  t.match(replicas, {
    dns: 'site-portcullis-replicas.edge.svc.cluster.local',
    identity: ['portcullis-replica'],
    tls: { cert: '/etc/portcullis/replica/tls.crt', serverName: 'site-portcullis.edge.svc' },
  })
  t.match(listen, { leaveDelay: '10s' })
  t.match(find(manifests, 'Service', 'site-portcullis-replicas').spec, { clusterIP: 'None' })
})

t.test('helm: as many replicas as there is to send', optionsFor('chart'), async (t) => {
  const manifests = render('--values', join(root, 'deploy/helm/examples/autoscaling.yaml'))
  const { spec } = find(manifests, 'HorizontalPodAutoscaler', 'site-portcullis')
  const metric = { name: 'portcullis_response_bytes_in_flight' }
  const target = { type: 'AverageValue', averageValue: '64Gi' }
  t.match(spec, {
    scaleTargetRef: { kind: 'StatefulSet', name: 'site-portcullis' },
    minReplicas: 3,
    maxReplicas: 9,
    metrics: [{ type: 'Pods', pods: { metric, target } }],
  })
  const metrics = await createMetrics().registry.getMetricsAsJSON()
  t.ok(
    metrics.some(({ name }) => name === metric.name),
    'the gateway has it',
  )
  const { spec: pods = {} } = find(manifests, 'StatefulSet', 'site-portcullis')
  t.notOk('replicas' in pods, 'nothing sets it back')
  t.match(pods.template?.spec, { topologySpreadConstraints: [{ maxSkew: 1 }] })
})

t.test('helm: what cannot be is told', optionsFor('chart'), async (t) => {
  const told = (...set: string[]) => helm('template', 'site', chart, ...kubernetes, ...set).stderr
  t.match(told('--set', 'replicas=0'), /replicas/)
  t.match(told('--set', 'tls.certManager.enabled=true'), /issuerRef\.name is missing/)
  t.match(told('--set', 'metrics.serviceMonitor.enabled=true'), /needs metrics\.enabled/)
  const scaled = ['--set', 'autoscaling.enabled=true']
  t.match(told(...scaled), /autoscaling needs sharing/)
  t.match(told(...scaled, '--set', 'sharing.enabled=true'), /autoscaling needs metrics/)
  const claim = ['--set', 'cache.persistence.existingClaim=x', '--set', 'replicas=2']
  t.match(told(...claim), /each needs its own/)
})

t.test('the plain manifests are what the chart makes', optionsFor('chart'), async (t) => {
  const values = ['--values', join(root, 'deploy/helm/examples/minimal.yaml')]
  const namespace = ['--namespace', 'portcullis']
  const made = helm('template', 'portcullis', chart, ...namespace, ...kubernetes, ...values).stdout
  const documents = (text: string) => parseAllDocuments(text).map((one): unknown => one.toJS())
  t.same(documents(read(join(root, 'deploy/kubernetes/portcullis.yaml'))), documents(made))
})

t.test('the plain manifests and the proof confine their pods', async (t) => {
  for (const file of globSync('deploy/kubernetes/*.yaml', { cwd: root })) {
    for (const { kind, metadata, spec } of parsed(read(join(root, file)))) {
      if (spec?.template !== undefined) checkPod(t, `${kind} ${metadata.name}`, spec.template.spec)
    }
  }
})

const kubernetes = ['--kube-version', '1.31.0']

function helm(...args: string[]) {
  return spawnSync('helm', args, { encoding: 'utf8' })
}

function render(...args: string[]): Manifest[] {
  const { stdout, stderr, status } = helm('template', 'site', chart, ...kubernetes, ...args)
  if (status !== 0) throw new Error(stderr)
  return parsed(stdout)
}

function parsed(text: string): Manifest[] {
  return parseAllDocuments(text)
    .map((document) => document.toJS() as Manifest | null)
    .filter((one) => one !== null)
}

function find(manifests: readonly Manifest[], kind: string, name: string): Manifest {
  const found = manifests.find((one) => one.kind === kind && one.metadata.name === name)
  if (found === undefined) throw new Error(`there is no ${kind} ${name}`)
  return found
}

/** No token, no privileges, nothing written but to volumes, and no mount without its volume. */
function checkPod(t: Test, name: string, pod: PodSpec): void {
  t.equal(pod.automountServiceAccountToken, false, name)
  const volumes = new Set(pod.volumes?.map((volume) => volume.name))
  for (const { securityContext, volumeMounts = [] } of pod.containers) {
    t.match(securityContext, {
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
    })
    for (const mount of volumeMounts) {
      const isClaimed = name.startsWith('StatefulSet') && mount.name === 'cache'
      t.ok(isClaimed || volumes.has(mount.name), `${name} has ${mount.name}`)
    }
  }
}
