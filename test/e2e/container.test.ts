// The image as a service: nobody's root, nothing to write to but its volume, healthy whatever the admin
// listener demands, ended by SIGTERM, and upgraded with what it holds.
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { layoutFiles, refName, sample, tarWith } from '../helpers/archives.ts'
import { testPki } from '../helpers/tls.ts'
import { buildStandIns } from '../matrix/stand-ins.ts'
import { optionsFor } from '../requirements.ts'
import { startDocker } from './lab/docker.ts'
import { makeFolder } from './lab/folder.ts'
import { until } from './lab/program.ts'

t.setTimeout(5 * 60_000)

t.test('as a service with a volume', optionsFor('container'), async (t) => {
  const { env, docker } = await startDocker(t, { networks: true })
  const { PORTCULLIS_IMAGE: image = '' } = await buildStandIns(env)
  const config = await configFolder(makeFolder(t))
  const must = async (...args: string[]) => {
    const { code, stdout, stderr } = await docker(...args)
    if (code !== 0) throw new Error(`docker ${args.join(' ')}: ${stdout}${stderr}`)
    return stdout.trim()
  }
  const start = async (tag: string) => {
    const confined = ['--read-only', '--cap-drop', 'ALL', '--security-opt', 'no-new-privileges']
    const mounts = [`${config}:/etc/portcullis:ro`, 'cache:/var/lib/portcullis']
    const volumes = mounts.flatMap((mount) => ['--volume', mount])
    await must('run', '--detach', '--name', 'gateway', ...confined, ...volumes, tag)
    t.teardown(() => docker('rm', '--force', '--volumes', 'gateway'))
    const health = () => must('inspect', '--format', '{{.State.Health.Status}}', 'gateway')
    await until('the gateway is healthy', async () => (await health()) === 'healthy')
  }
  const images = async () => must('exec', 'gateway', 'portcullis', 'images', '--json')

  await start(image)
  const node = (script: string) => docker('exec', 'gateway', 'node', '-p', script)
  t.equal((await node('process.getuid()')).stdout, '1000\n')
  t.match((await node('fs.writeFileSync("/app/x", "")')).stderr, 'EROFS', 'the root is read-only')
  t.match((await node('fs.readFileSync("/proc/1/status", "utf8")')).stdout, /^CapEff:\s0+$/m)
  t.match(await images(), /registry\.test\/app:1\.0/)

  await must('stop', '--time', '60', 'gateway')
  t.equal(await must('inspect', '--format', '{{.State.ExitCode}}', 'gateway'), '0')
  t.match(await must('logs', 'gateway'), /"msg":"ended"/, 'in order, not by SIGKILL')

  await must('rm', 'gateway')
  writeFileSync(join(config, 'gateway.yaml'), gatewayYaml(''))
  await must('tag', image, 'next')
  await start('next')
  t.match(await images(), /registry\.test\/app:1\.0/, 'the next one has what the volume holds')
})

async function configFolder(folder: string): Promise<string> {
  const config = join(folder, 'config')
  const { ca, server } = await testPki()
  const { content, index } = await sample()
  const entry = { digest: index, annotations: refName('registry.test/app:1.0') }
  mkdirSync(config)
  const files: Record<string, string | Buffer> = {
    'gateway.yaml': gatewayYaml(', import: [image.tar]'),
    'ca.crt': ca.certificatePem,
    'server.crt': server.certificatePem,
    'server.key': server.keyPem,
    'image.tar': await tarWith(layoutFiles(content, [entry])),
  }
  for (const [name, text] of Object.entries(files)) writeFileSync(join(config, name), text)
  // For 1000:1000, who is not the owner.
  chmodSync(config, 0o755)
  return config
}

function gatewayYaml(more: string): string {
  const tls = 'cert: server.crt, key: server.key, clientAuth: required, clientCa: [ca.crt]'
  return `listen: { tls: { ${tls} } }
admin: { host: 0.0.0.0, tls: { ${tls} } }
cache: { dir: /var/lib/portcullis${more} }
upstreams: { registry.test: { offline: true } }
`
}
