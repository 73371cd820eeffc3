// Docker token authentication in front of a test upstream: challenges, and issues what it accepts.
import type { IncomingMessage, ServerResponse } from 'node:http'
import { text } from 'node:stream/consumers'
import { TLSSocket } from 'node:tls'
import type { Fault } from './upstream.ts'

interface TokenRequest {
  method: string
  /** Of the query (GET) or of the form (POST). */
  parameters: URLSearchParams
  authorization: string | undefined
}

export interface TokenAuth {
  fault: Fault
  /** Requests for a token so far. */
  asked: TokenRequest[]
  /** Makes every token issued so far invalid. */
  revoke(): void
}

export interface TokenAuthOptions {
  /** Who gets a token; everybody when absent. The password is a valid refresh token too. */
  credentials?: { username: string; password: string }
  /** `expires_in` of the answers; left out when absent. */
  expiresIn?: number
  /** The realm of the challenges; the upstream's own `/token` when absent. */
  realm?: string
}

/** Lets through only requests with a token for their repository, and answers `/token`. */
export function tokenAuth(options: TokenAuthOptions = {}): TokenAuth {
  const asked: TokenRequest[] = []
  let scopes = new Map<string, string[]>()

  const issue = async (req: IncomingMessage, res: ServerResponse): Promise<void> => {
    const parameters =
      req.method === 'POST'
        ? new URLSearchParams(await text(req))
        : new URL(req.url ?? '', 'http://registry').searchParams
    asked.push({ method: req.method ?? '', parameters, authorization: req.headers.authorization })
    if (!isGranted(options.credentials, parameters, req.headers.authorization)) {
      res.writeHead(401).end()
      return
    }
    const token = `token-${asked.length}`
    scopes.set(
      token,
      parameters.getAll('scope').flatMap((scope) => scope.split(' ')),
    )
    const { expiresIn } = options
    res.writeHead(200, { 'content-type': 'application/json' })
    res.end(
      JSON.stringify({
        ...(req.method === 'POST' ? { access_token: token } : { token }),
        ...(expiresIn === undefined ? {} : { expires_in: expiresIn }),
      }),
    )
  }

  return {
    asked,
    revoke: () => {
      scopes = new Map()
    },
    fault: (req, res) => {
      const path = (req.url ?? '').split('?', 1)[0] ?? ''
      if (path === '/token') {
        void issue(req, res)
        return true
      }
      const scope = scopeOf(path)
      const granted = scopes.get(req.headers.authorization?.replace(/^Bearer /, '') ?? '')
      if (granted !== undefined && (scope === undefined || granted.includes(scope))) return false
      const protocol = req.socket instanceof TLSSocket ? 'https' : 'http'
      const realm = options.realm ?? `${protocol}://${req.headers.host}/token`
      const parts = [`realm="${realm}"`, 'service="test"']
      if (scope !== undefined) parts.push(`scope="${scope}"`)
      res.writeHead(401, { 'www-authenticate': `Bearer ${parts.join(',')}` }).end()
      return true
    },
  }
}

/** What a request needs; `/v2/` needs any token. */
function scopeOf(path: string): string | undefined {
  const name = /^\/v2\/(.+)\/(?:manifests|blobs|tags|referrers)\//.exec(path)?.[1]
  return name === undefined ? undefined : `repository:${name}:pull`
}

function isGranted(
  credentials: TokenAuthOptions['credentials'],
  parameters: URLSearchParams,
  authorization: string | undefined,
): boolean {
  if (credentials === undefined) return true
  const { username, password } = credentials
  const basic = `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`
  return (
    authorization === basic ||
    parameters.get('refresh_token') === password ||
    (parameters.get('username') === username && parameters.get('password') === password)
  )
}
