// Lets the pages of the admin listener call the gateway from a browser (CORS, the Fetch standard).
import type { IncomingMessage, RequestListener } from 'node:http'

const answerHeaders = [
  'Accept-Ranges',
  'Content-Range',
  'Docker-Content-Digest',
  'Docker-Distribution-Api-Version',
  'ETag',
  'Link',
  'OCI-Filters-Applied',
  'OCI-Namespace',
  'X-Request-Id',
  'Retry-After',
  'Warning',
  'WWW-Authenticate',
]

const requestHeaders = ['Authorization', 'If-None-Match', 'If-Range', 'Range', 'X-Registry']

/**
 * `handler`, its answers readable by pages of `origins`, which are asked for at each request of a
 * browser. Nobody else notices anything: to other pages the gateway is as closed as before.
 */
export function allowOrigins(
  origins: () => readonly string[],
  handler: RequestListener,
): RequestListener {
  return (req, res) => {
    const { origin } = req.headers
    if (origin === undefined || !origins().includes(origin)) {
      handler(req, res)
      return
    }
    res.setHeader('access-control-allow-origin', origin)
    // With credentials the browser presents its client certificate.
    res.setHeader('access-control-allow-credentials', 'true')
    res.setHeader('access-control-expose-headers', answerHeaders.join(', '))
    res.setHeader('vary', 'Origin')
    if (!isPreflight(req)) {
      handler(req, res)
      return
    }
    // Answered for everybody: a browser asks it without any credential.
    res.setHeader('access-control-allow-methods', 'GET, HEAD, POST')
    res.setHeader('access-control-allow-headers', requestHeaders.join(', '))
    res.setHeader('access-control-max-age', '600')
    res.writeHead(204)
    res.end()
  }
}

function isPreflight({ method, headers }: IncomingMessage): boolean {
  return method === 'OPTIONS' && headers['access-control-request-method'] !== undefined
}
