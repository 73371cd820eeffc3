// Names each request, so that a client, the log and an upstream's log can speak of the same one.
import { randomBytes } from 'node:crypto'
import type { IncomingMessage } from 'node:http'

/** What is taken from a client as it is: nothing that would steer a terminal, or fill a disk. */
const sane = /^[A-Za-z0-9._-]{1,64}$/

/** Returns what gives the `X-Request-Id` of a request, or another name where that is none. */
export function createRequestIds(): (req: IncomingMessage) => string {
  const prefix = `${randomBytes(5).toString('hex')}-`
  let count = 0
  return ({ headers }) => {
    const given = headers['x-request-id']
    if (typeof given === 'string' && sane.test(given)) return given
    count += 1
    return prefix + count.toString(36)
  }
}
