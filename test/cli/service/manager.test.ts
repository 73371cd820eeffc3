// systemd is told by its own program: what arrives at a socket as it has one.
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { serviceManager } from '../../../src/cli/service/manager.ts'
import { until } from '../../e2e/lab/program.ts'
import { recordingLog } from '../../helpers/listener.ts'
import { optionsFor } from '../../requirements.ts'

/** What was sent to the socket so far, one message to a line. */
async function listen(t: Test) {
  // The path of a socket has room for 107 bytes.
  const folder = mkdtempSync(join(tmpdir(), 'portcullis-notify-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const socket = join(folder, 'socket')
  const program = `
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
print('bound', flush=True)
while True:
    print(s.recv(4096).decode(), flush=True)
`
  const child = spawn('python3', ['-c', program, socket], { stdio: ['ignore', 'pipe', 'inherit'] })
  t.teardown(() => child.kill())
  let text = ''
  child.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()))
  await until('the socket is there', () => text.includes('bound'))
  return { socket, text: () => text }
}

t.test('ready, beats, stopping', optionsFor('notify'), async (t) => {
  const { socket, text } = await listen(t)
  const { log, lines } = recordingLog()
  const env = { ...process.env, NOTIFY_SOCKET: socket, WATCHDOG_USEC: '100000' }
  const manager = serviceManager(log, env)
  manager.ready('serves on 5443')
  await until('it is ready', () => /READY=1\nSTATUS=serves on 5443/.test(text()))
  await until('there are beats', () => text().split('WATCHDOG=1').length > 2)
  manager.stopping()
  await until('it stops', () => text().includes('STOPPING=1'))
  t.same(lines, [])
})

t.test('a watchdog of another process, or none, gets no beats', optionsFor('notify'), async (t) => {
  const { socket, text } = await listen(t)
  const env = { ...process.env, NOTIFY_SOCKET: socket, WATCHDOG_USEC: '1000', WATCHDOG_PID: '1' }
  const manager = serviceManager(recordingLog().log, env)
  manager.ready('')
  await until('it is ready', () => text().includes('READY=1'))
  manager.stopping()
  await until('it stops', () => text().includes('STOPPING=1'))
  t.notMatch(text(), 'WATCHDOG')
})

t.test('without the program the log says so, and without a socket nothing happens', async (t) => {
  const { log, lines } = recordingLog()
  serviceManager(log, { PATH: '/nowhere', NOTIFY_SOCKET: '/nowhere' }).ready('')
  await until('it is told', () => lines.length > 0)
  t.match(lines[0]?.['msg'], /systemd-notify/)
  serviceManager(log, { PATH: '/nowhere' }).ready('')
  t.equal(lines.length, 1)
})
