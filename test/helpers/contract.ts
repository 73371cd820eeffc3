// Runs a table of requests against a running server and holds every answer against the document.
import type { Test } from 'tap'
import { differences, type Answer, type Document } from './api-document.ts'

/** One documented response: how it is brought about. */
export interface Case {
  operation: string
  status: number
  send: () => Promise<Answer>
  /** The code in the body, where it is an error that has one. */
  code?: string
}

/** Every response that the document names, with each of its headers, must be among the answers. */
export async function checkContract(t: Test, document: Document, cases: readonly Case[]) {
  const shown = new Set<string>()
  for (const { operation: id, status, send, code } of cases) {
    const name = `${id} ${status}${code === undefined ? '' : ` ${code}`}`
    const operation = document.operations.find((operation) => operation.id === id)
    if (operation === undefined) {
      t.fail(`${id} is not in the document`)
      continue
    }
    const answer = await send()
    shown.add(`${id} ${answer.status}`)
    for (const header of Object.keys(answer.headers)) shown.add(`${id} ${answer.status} ${header}`)
    t.equal(answer.status, status, name)
    t.same(differences(document, operation, answer), [], name)
    if (code !== undefined) t.equal(codeOf(answer), code, name)
  }
  t.same(
    promised(document).filter((item) => !shown.has(item)),
    [],
    'every documented response and header was brought about',
  )
}

function promised({ operations }: Document): string[] {
  return operations.flatMap(({ id, responses }) =>
    Object.entries(responses).flatMap(([status, { headers }]) => {
      if (status === 'default') return []
      const names = Object.keys(headers).map((name) => ` ${name.toLowerCase()}`)
      return ['', ...names].map((name) => `${id} ${status}${name}`)
    }),
  )
}

/** The answer of a request to a server without TLS; a `Host` of its own and the like are no matter. */
export async function fetchAnswer(url: string, init: RequestInit = {}): Promise<Answer> {
  const response = await fetch(url, { redirect: 'manual', ...init })
  return {
    status: response.status,
    headers: Object.fromEntries(response.headers),
    body: Buffer.from(await response.arrayBuffer()),
  }
}

/** An answer as it came over a raw connection. */
export function parseAnswer(text: string): Answer {
  const [head = '', body = ''] = text.split(/\r\n\r\n(.*)/s)
  const [first = '', ...lines] = head.split('\r\n')
  return {
    status: Number(first.split(' ')[1]),
    headers: Object.fromEntries(
      lines.map((line) => {
        const colon = line.indexOf(':')
        return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()]
      }),
    ),
    body: Buffer.from(body, 'latin1'),
  }
}

function codeOf({ body }: Answer): string | undefined {
  const { errors } = JSON.parse(body.toString()) as { errors: { code: string }[] }
  return errors[0]?.code
}
