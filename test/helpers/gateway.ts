// A whole gateway on free ports, and clients of it over real TLS.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import { Agent, request } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { setTimeout } from 'node:timers/promises'
import type { Test } from 'tap'
import { startGateway, type Gateway } from '../../src/app.ts'
import { loadConfig } from '../../src/config/load.ts'
import type { Issued } from '../../src/pki/authority.ts'
import { recordingLog } from './listener.ts'
import { testPki } from './tls.ts'

export interface TestGateway extends Gateway {
  url: string
  folder: string
  /** Log lines so far. */
  lines: Record<string, unknown>[]
  /** The log line of the newest request, once every request so far has its own. */
  lastRequest: () => Promise<Record<string, unknown> | undefined>
  send: (path: string, options?: SendOptions) => Promise<Answer>
  /** The response as soon as its head is there. */
  open: (path: string, options?: SendOptions) => Promise<IncomingMessage>
}

/** Files of the test's own, by name. */
export type Files = Record<string, string>

export interface SendOptions {
  method?: string
  headers?: Record<string, string>
  /** Client certificate; the right one, unless told: `null` is none. */
  client?: Pick<Issued, 'certificatePem' | 'keyPem'> | null
  body?: string
  /** Of another gateway with the same certificates. */
  port?: number
}

export interface Answer {
  status: number
  headers: IncomingHttpHeaders
  body: Buffer
  /** The code of the first error of an OCI body. */
  code: string | undefined
}

export interface GatewayOptions {
  clientAuth?: string
  files?: Files
  /** More of the sections, in YAML: a line of `listen`, all of `admin`, keys of `cache`. */
  listen?: string
  admin?: string
  cache?: string
}

/**
 * Starts a gateway with the upstreams, and what else there is, of `yaml`. Its listener has the test
 * certificates (`server.crt`, `ca.crt` ... in `folder`, beside `files`) and asks for client certificates;
 * `listen` is a line more of its section.
 */
export async function startTestGateway(
  t: Test,
  yaml: string,
  {
    clientAuth = 'optional',
    files = {},
    listen = '',
    admin = 'admin: { port: 0 }',
    cache = '',
  }: GatewayOptions = {},
): Promise<TestGateway> {
  const pki = await testPki()
  const folder = mkdtempSync(join(tmpdir(), 'portcullis-test-'))
  const running: { gateway?: Gateway } = {}
  t.teardown(async () => {
    await running.gateway?.close(0)
    rmSync(folder, { recursive: true })
  })
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text)
  writeFileSync(join(folder, 'ca.crt'), pki.ca.certificatePem)
  writeFileSync(join(folder, 'server.crt'), pki.server.certificatePem)
  writeFileSync(join(folder, 'server.key'), pki.server.keyPem)
  const file = join(folder, 'gateway.yaml')
  writeFileSync(
    file,
    `listen:
  host: 127.0.0.1
  port: 0
  tls: { cert: server.crt, key: server.key, clientAuth: ${clientAuth}, clientCa: [ca.crt] }
  ${listen}
${admin}
cache: { dir: cache, ${cache} }
${yaml}`,
  )
  const { log, lines } = recordingLog()
  const gateway = await startGateway(await loadConfig(file), {
    log,
    source: { file, load: () => loadConfig(file) },
  })
  running.gateway = gateway
  const url = `https://localhost:${gateway.port}`

  let sent = 0
  const open = (path: string, options: SendOptions = {}) =>
    new Promise<IncomingMessage>((resolve, reject) => {
      const client = options.client === undefined ? pki.client : options.client
      const pair = client === null ? {} : { cert: client.certificatePem, key: client.keyPem }
      const agent = new Agent({ ca: pki.ca.certificatePem, ...pair })
      const { method = 'GET', headers = {}, port = gateway.port } = options
      // Sent as it is: a URL would be normalised.
      sent += 1
      const asked = request({ agent, host: 'localhost', port, path, method, headers }, resolve)
      asked.on('error', reject).on('close', () => agent.destroy())
      asked.end(options.body)
    })

  return {
    ...gateway,
    url,
    folder,
    lines,
    async lastRequest() {
      const told = () => lines.filter(({ msg }) => msg === 'request')
      while (told().length < sent) await setTimeout(5)
      return told().at(-1)
    },
    open,
    async send(path, options) {
      const response = await open(path, options)
      const body = await buffer(response)
      return {
        status: response.statusCode ?? 0,
        headers: response.headers,
        body,
        code: codeIn(body),
      }
    },
  }
}

function codeIn(body: Buffer): string | undefined {
  try {
    const { errors } = JSON.parse(body.toString()) as { errors?: { code: string }[] }
    return errors?.[0]?.code
  } catch {
    return undefined
  }
}
