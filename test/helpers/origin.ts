// A stand-in for the upstream client: the port of src/oci/origin.ts over bare node:http.
import { Agent, request, type IncomingMessage } from 'node:http'
import { GatewayError } from '../../src/errors.ts'
import type { OpenUpstream, OriginRequest } from '../../src/oci/origin.ts'

/**
 * Asks the registries given by upstream name, as `http://host:port`.
 * @param stallTimeout ms without a byte after which an exchange fails
 */
export function createOrigin(urls: Record<string, string>, stallTimeout = 1000): OpenUpstream {
  const agent = new Agent({ keepAlive: false })
  return (asked, receiver) => {
    let isOver = false
    let isPaused = false
    let response: IncomingMessage | undefined
    const fail = (error: GatewayError) => {
      if (!isOver) receiver.fail(error)
      isOver = true
      req.destroy()
    }
    const broken = (error: Error & { code?: string }) =>
      fail(failed('UPSTREAM_FAILED', error.code === 'ECONNREFUSED' ? 'refused' : 'reset'))
    const req = request(urlOf(urls, asked), {
      agent,
      method: asked.method,
      headers: headersOf(asked),
    })
    req.setTimeout(stallTimeout, () => {
      if (!isPaused) fail(failed('UPSTREAM_TIMEOUT', 'timeout'))
    })
    req.on('error', broken)
    req.on('response', (res) => {
      if (isOver) return
      response = res
      const status = res.statusCode ?? 0
      if (![200, 206, 304, 404, 405, 416].includes(status)) {
        fail(failed(codeOf(status), reasonOf(status), status))
        return
      }
      receiver.start({ status, headers: res.headers as Record<string, string> })
      if (isPaused) res.pause()
      res.on('error', broken)
      res.on('data', (chunk: Buffer) => {
        if (!isOver) receiver.data(chunk)
        // As a socket's buffer may be: whoever keeps the chunk must have copied it.
        chunk.fill(0)
      })
      res.on('end', () => {
        if (!isOver) receiver.end()
        isOver = true
      })
      if (isPaused) res.pause()
    })
    req.end()
    return {
      pause() {
        isPaused = true
        response?.pause()
      },
      resume() {
        isPaused = false
        response?.resume()
      },
      abort() {
        isOver = true
        req.destroy()
      },
    }
  }
}

function urlOf(urls: Record<string, string>, { upstream, repository, resource }: OriginRequest) {
  return `${urls[upstream] ?? 'http://127.0.0.1:1'}/v2/${repository === '' ? '' : `${repository}/`}${resource}`
}

function headersOf({ accept, from, to, unless }: OriginRequest): Record<string, string> {
  return {
    ...(accept === undefined ? {} : { accept }),
    ...(from === undefined ? {} : { range: `bytes=${from}-${to === undefined ? '' : to - 1}` }),
    ...(unless === undefined ? {} : { 'if-none-match': `"${unless}"` }),
  }
}

function codeOf(status: number) {
  if (status === 401 || status === 403) return 'DENIED'
  return status === 429 ? 'TOOMANYREQUESTS' : 'UPSTREAM_FAILED'
}

/** As the real client has it. */
function reasonOf(status: number): string {
  if (status === 401 || status === 403) return 'denied'
  if (status === 429) return 'rate_limited'
  if (status >= 500) return 'http_5xx'
  return status >= 400 ? 'http_4xx' : 'bad_response'
}

function failed(
  code: 'DENIED' | 'TOOMANYREQUESTS' | 'UPSTREAM_FAILED' | 'UPSTREAM_TIMEOUT',
  reason: string,
  status?: number,
) {
  return new GatewayError(code, `the upstream cannot be asked: ${reason}`, {
    reason,
    blame: status === undefined ? {} : { status },
  })
}
