// `portcullis health` asks the gateway itself, whatever its admin listener demands.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { listenInFolder } from '../../../src/admin/control-socket.ts'
import { openStore } from '../../../src/cache/store.ts'
import { runCommand } from '../../helpers/command.ts'
import { startTestGateway } from '../../helpers/gateway.ts'
import { testPki } from '../../helpers/tls.ts'

const upstreams = "upstreams: { registry.test: { url: 'http://127.0.0.1:1' } }"
const admin = `admin:
  port: 0
  tls: { cert: server.crt, key: server.key, clientAuth: required, clientCa: [ca.crt] }`

t.test('ready, not ready, not there', async (t) => {
  const gateway = await startTestGateway(t, upstreams, { admin })
  const health = () => runCommand(['health', '--config', join(gateway.folder, 'gateway.yaml')])
  t.same(await health(), { status: 0, stdout: 'ready\n', stderr: '' })

  const { expiredServer } = await testPki()
  writeFileSync(join(gateway.folder, 'server.crt'), expiredServer.certificatePem)
  const expired = await health()
  t.equal(expired.status, 1)
  t.match(expired.stdout, /^not ready\nproblem: listen\.tls\.cert: expired/)

  await gateway.close(0)
  const gone = await health()
  t.equal(gone.status, 1)
  t.match(gone.stdout, /^no gateway uses /)
})

t.test('a gateway that is stuck is not waited for', async (t) => {
  const folder = t.testdir({
    'gateway.yaml': 'listen: { insecureHttp: true }\ncache: { dir: cache }\nupstreams: {}\n',
  })
  const dir = join(folder, 'cache')
  openStore(dir).close()
  const control = await listenInFolder(dir, () => undefined)
  t.teardown(control.close)
  const { status, stdout } = await runCommand(['health', '--config', join(folder, 'gateway.yaml')])
  t.equal(status, 1)
  t.equal(stdout, 'the gateway does not answer: see its log, or end it\n')
})

t.test('without a config it says so', async (t) => {
  const { status, stderr } = await runCommand(['health'], { env: {} })
  t.equal(status, 2)
  t.match(stderr, /--config: is missing/)
})
