// Replaces certificate and key of a running listener, one after the other, while clients connect.
// `node test/listener/swap-loop.ts 1000` does a thousand rounds and says what came of it.
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { connect } from 'node:tls'
import { pino } from 'pino'
import { createReloader, type ReloadResult } from '../../src/listener/reload.ts'
import { listenerScope } from '../helpers/reload.ts'
import { createServer, listen } from '../../src/listener/server.ts'
import { makeCertificate, type TestCertificate } from '../helpers/certificates.ts'
import { defaultLimits, noTls } from '../helpers/listener.ts'

const clients = 8

export interface SwapOutcome {
  handshakes: number
  /** What clients and server said of handshakes that failed. */
  failures: string[]
  results: ReloadResult[]
  /** Serial numbers of the certificates that clients have seen. */
  seen: Set<string>
  /** Of the one that was put in place last. */
  last: string
}

/** `rounds` swaps under load; resolves once the last one is seen, or after `patience` ms. */
export async function swapLoop(rounds: number, patience = 10_000): Promise<SwapOutcome> {
  const folder = mkdtempSync(join(tmpdir(), 'swap-loop-'))
  const ca = await makeCertificate({ subject: 'CN=Test CA', ca: true })
  const pairs = [await pairOf(ca), await pairOf(ca)]
  const [cert, key, clientCa] = ['crt', 'key', 'ca'].map((name) => join(folder, name))
  if (cert === undefined || key === undefined || clientCa === undefined) throw new Error('no path')
  const client = await makeCertificate({ subject: 'CN=edge', issuer: ca, purposes: ['client'] })
  writeFileSync(clientCa, ca.certificatePem)
  writeFileSync(cert, pairs[0]?.certificatePem ?? '')
  writeFileSync(key, pairs[0]?.keyPem ?? '')

  const outcome: SwapOutcome = {
    handshakes: 0,
    failures: [],
    results: [],
    seen: new Set(),
    last: '',
  }
  const tls = { ...noTls, cert, key, clientCa: [clientCa], clientAuth: 'required' as const }
  const log = pino({ level: 'silent' })
  const server = createServer(
    { host: '127.0.0.1', port: 0, insecureHttp: false, tls },
    {
      handler: (_req, res) => res.end('pulled'),
      log,
      limits: () => defaultLimits,
      onHandshakeFailure: (reason) => void outcome.failures.push(`server: ${reason}`),
    },
  )
  const port = await listen(server, '127.0.0.1', 0)
  const everything = listenerScope(server, () => tls)
  const reloader = createReloader({
    everything,
    listeners: [],
    log,
    onResult: (result) => void outcome.results.push(result),
  })

  const load = new AbortController()
  const steady = Array.from({ length: clients }, async () => {
    while (!load.signal.aborted) await pull(port, ca, client, outcome)
  })
  for (let round = 1; round <= rounds; round += 1) {
    const pair = pairs[round % 2]
    if (pair === undefined) break
    await replaceOne(cert, pair.certificatePem, round)
    await replaceOne(key, pair.keyPem, round)
    outcome.last = pair.certificate.serialNumber.toUpperCase()
  }
  outcome.seen.clear()
  for (const end = Date.now() + patience; Date.now() < end && !outcome.seen.has(outcome.last);) {
    await delay(20)
  }
  load.abort()
  await Promise.all(steady)
  reloader.close()
  server.closeAllConnections()
  await new Promise((resolve) => server.close(resolve))
  rmSync(folder, { recursive: true })
  return outcome
}

function pairOf(ca: TestCertificate): Promise<TestCertificate> {
  return makeCertificate({
    subject: 'CN=localhost',
    issuer: ca,
    purposes: ['server'],
    dnsNames: ['localhost'],
  })
}

/** In turns written in place, in two pieces, and renamed over; with pauses of all lengths. */
async function replaceOne(file: string, text: string, round: number): Promise<void> {
  if (round % 3 === 0) {
    writeFileSync(`${file}.new`, text)
    renameSync(`${file}.new`, file)
  } else if (round % 3 === 1) {
    writeFileSync(file, text)
  } else {
    writeFileSync(file, text.slice(0, 300))
    await delay(1)
    writeFileSync(file, text)
  }
  await delay(round % 10 === 0 ? 80 : round % 7)
}

/** A connection of its own, one request, and the end. */
function pull(port: number, ca: TestCertificate, client: TestCertificate, outcome: SwapOutcome) {
  return new Promise<void>((resolve) => {
    let text = ''
    const socket = connect({
      port,
      host: '127.0.0.1',
      servername: 'localhost',
      ca: ca.certificatePem,
      cert: client.certificatePem,
      key: client.keyPem,
    })
    socket.on('secureConnect', () => {
      outcome.seen.add(socket.getPeerX509Certificate()?.serialNumber ?? '')
      socket.write('GET /v2/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n')
    })
    socket.on('data', (chunk: Buffer) => (text += chunk.toString()))
    socket.on('error', (error) => outcome.failures.push(`client: ${error.message}`))
    socket.on('close', () => {
      outcome.handshakes += 1
      if (!text.endsWith('pulled')) outcome.failures.push(`client: no answer (${text})`)
      resolve()
    })
  })
}

if (import.meta.main) {
  const rounds = Number(process.argv[2] ?? 1000)
  const { handshakes, failures, results, seen, last } = await swapLoop(rounds)
  const reloads = results.filter(({ result }) => result === 'ok').length
  const refused = results.length - reloads
  const end = seen.has(last)
    ? 'the last certificate is in use'
    : 'THE LAST CERTIFICATE IS NOT IN USE'
  process.stdout.write(
    `${rounds} swaps, ${handshakes} handshakes, ${failures.length} failed, ` +
      `${reloads} reloads, ${refused} refused; ${end}\n${failures.slice(0, 10).join('\n')}`,
  )
  process.exitCode = failures.length > 0 || !seen.has(last) ? 1 : 0
}
