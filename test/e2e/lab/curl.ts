// curl as a client of the gateway.
import { existsSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import type { Certificates, Pair } from './certificates.ts'
import { makeFolder } from './folder.ts'
import type { Gateway } from './gateway.ts'
import { run, succeed, type Outcome } from './program.ts'

export interface Answer {
  status: number
  /** By lower-case name. */
  headers: Map<string, string>
  body: Buffer
}

export type Curl = (target: string, ...options: string[]) => Promise<Answer>

/**
 * Asks `gateway` for a target such as `/v2/`, with the client certificate of the lab.
 * @param by a command that starts curl, such as one that enters a namespace
 */
export function makeCurl(
  t: Pick<Test, 'teardown'>,
  { address }: Pick<Gateway, 'address'>,
  { ca, client }: Certificates,
  by: readonly string[] = [],
): Curl {
  const folder = makeFolder(t)
  const [head, body] = [join(folder, 'head'), join(folder, 'body')]
  return async (target, ...options) => {
    const url = `https://${address}${target}`
    // With --head curl writes the headers as the body too.
    const files = [
      '--dump-header',
      head,
      '--output',
      options.includes('--head') ? '/dev/null' : body,
    ]
    rmSync(body, { force: true })
    const always = ['--silent', '--show-error', '--globoff', '--path-as-is']
    const identity = identityOf(ca.edge, client)
    const call = [...by, 'curl', ...always, ...identity, ...files, ...options, url]
    await succeed(call[0] ?? '', call.slice(1))
    const [statusLine = '', ...lines] = readFileSync(head, 'latin1').trim().split('\r\n')
    const headers = lines.map((line): [string, string] => {
      const colon = line.indexOf(':')
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()]
    })
    return {
      status: Number(statusLine.split(' ')[1]),
      headers: new Map(headers),
      body: existsSync(body) ? readFileSync(body) : Buffer.alloc(0),
    }
  }
}

/** For those whom the gateway may refuse before it answers: whatever came of it. */
export function knock({ address }: Gateway, ca: string, client?: Pair): Promise<Outcome> {
  return run('curl', [
    '--silent',
    '--show-error',
    ...identityOf(ca, client),
    `https://${address}/v2/`,
  ])
}

function identityOf(ca: string, client: Pair | undefined): string[] {
  const own = client === undefined ? [] : ['--cert', client.cert, '--key', client.key]
  return ['--cacert', ca, ...own]
}
