// The log line of a request, put together by hand: with the logger it would be a quarter of what a small
// request costs.
import { symbols, type DestinationStream, type Logger } from 'pino'
import type { GatewayError } from '../../errors.ts'
import { callerName } from '../../identity/identity.ts'
import type { Exchange, WriteRequest } from '../request-record.ts'

/** Lines go to the stream of `log`, in order with its others, and are like those. */
export function createRequestLog(log: Logger): WriteRequest {
  const stream = (log as unknown as Record<symbol, DestinationStream>)[symbols.streamSym]
  if (stream === undefined) throw new TypeError('the log has no stream')
  const clock = createClock()
  const { pid } = process
  return (exchange, seconds, firstByteSeconds) => {
    const level = exchange.res.statusCode >= 500 ? 'warn' : 'info'
    if (!log.isLevelEnabled(level)) return
    const fields = fieldsOf(exchange, seconds, firstByteSeconds)
    const { error } = exchange
    if (error?.code === 'INTERNAL' && error.cause !== undefined) {
      // What is no failure of ours by name is a fault: its stack is wanted.
      log[level]({ ...(JSON.parse(`{${fields.slice(1)}}`) as object), err: error.cause }, 'request')
      return
    }
    stream.write(`{"level":"${level}","time":"${clock()}","pid":${pid}${fields},"msg":"request"}\n`)
  }
}

/** Now, by ISO 8601; made once for each millisecond. */
function createClock(): () => string {
  let last = 0
  let text = ''
  return () => {
    const now = Date.now()
    if (now !== last) text = new Date(now).toISOString()
    last = now
    return text
  }
}

/** Members of a JSON object, each behind a comma. What has come from elsewhere is quoted by JSON, and nothing else is. */
function fieldsOf(
  exchange: Exchange,
  seconds: number,
  firstByteSeconds: number | undefined,
): string {
  const { client, identity, req, place, res, bytes, source, error } = exchange
  let line = `,"requestId":"${exchange.id}"`
  if (client !== undefined) line += `,"client":${quoted(client)}`
  if (identity !== undefined) line += `,"identity":${quoted(callerName(identity))}`
  line += `,"method":${quoted(req.method ?? '')}`
  if (place !== undefined) {
    line += `,"upstream":${quoted(place.upstream)},"repository":${quoted(place.repository)}`
  }
  const reference = referenceOf(exchange)
  if (reference !== undefined) line += `,"reference":${quoted(reference)}`
  line += `,"status":${res.statusCode},"bytes":${bytes},"source":"${source}"`
  if (exchange.stale) line += ',"stale":true'
  if (firstByteSeconds !== undefined) line += `,"ttfbMs":${milliseconds(firstByteSeconds)}`
  line += `,"ms":${milliseconds(seconds)}`
  return error === undefined ? line : line + failureOf(error)
}

const quoted = (text: string) => JSON.stringify(text)

function referenceOf({ resource, req }: Exchange): string | undefined {
  // What is no resource may be anything, a secret too: only what is known by name is told.
  if (resource === undefined) return isTokenPath(req.url) ? 'token' : undefined
  if ('digest' in resource && resource.digest !== undefined) return resource.digest
  return 'tag' in resource ? resource.tag : resource.kind
}

function isTokenPath(url = ''): boolean {
  return url === '/token' || url.startsWith('/token?')
}

function failureOf({ code, reason, message, cause }: GatewayError): string {
  const why = cause instanceof Error ? cause.message : undefined
  return (
    `,"code":"${code}"${reason === undefined ? '' : `,"reason":${quoted(reason)}`}` +
    `,"message":${quoted(message)}${why === undefined ? '' : `,"why":${quoted(why)}`}`
  )
}

function milliseconds(seconds: number): number {
  return Math.round(seconds * 1e5) / 100
}
