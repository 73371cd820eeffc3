// A registry as Harbor has it: its token service on the same host, robots, projects before every name.
import { createPrivateKey, randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { createServer, request, type IncomingMessage, type ServerResponse } from 'node:http'
import { join } from 'node:path'
import { SignJWT } from 'jose'
import type { Test } from 'tap'
import { makeCertificate } from '../../helpers/certificates.ts'
import { makeFolder } from './folder.ts'
import { freePort } from './program.ts'
import { startDockerRegistry } from './registry.ts'

export interface Harbor {
  /** `host:port` of registry and token service; plain HTTP. */
  address: string
  robot: { username: string; password: string }
}

interface Access {
  type: string
  name: string
  actions: string[]
}

const issuer = 'harbor-token-issuer'
const service = 'harbor-registry'

/** Seconds that a token lasts; clients take less for this. */
const lasts = 60

/**
 * Starts docker-registry on the content of another one below `content`, and in front of it what stands
 * there in Harbor: `/service/token`, whose tokens docker-registry itself checks.
 * @param project the private project that its robot may pull from
 */
export async function startHarbor(
  t: Pick<Test, 'teardown'>,
  content: string,
  project: string,
): Promise<Harbor> {
  const signer = await makeCertificate({ subject: 'CN=harbor', ca: true })
  const bundle = join(makeFolder(t), 'token.crt')
  writeFileSync(bundle, signer.certificatePem)
  const address = `127.0.0.1:${await freePort()}`
  const realm = `http://${address}/service/token`
  const registry = await startDockerRegistry(t, content, {
    auth: { token: { realm, service, issuer, rootcertbundle: bundle } },
  })
  const robot = { username: `robot$${project}+edge`, password: randomUUID() }
  const basic = `Basic ${Buffer.from(`${robot.username}:${robot.password}`).toString('base64')}`

  /** Who is nobody gets a token, too: for nothing. */
  async function tokenFor({ url = '', headers }: IncomingMessage): Promise<string | undefined> {
    const { authorization } = headers
    if (authorization !== undefined && authorization !== basic) return undefined
    const { searchParams } = new URL(url, realm)
    const wanted = searchParams.getAll('scope').flatMap((scopes) => scopes.split(' '))
    const access = authorization === undefined ? [] : wanted.flatMap(granted)
    return new SignJWT({ access })
      .setProtectedHeader({ alg: 'ES256', typ: 'JWT', x5c: [derOf(signer.certificatePem)] })
      .setIssuer(issuer)
      .setSubject(authorization === undefined ? '' : robot.username)
      .setAudience(searchParams.get('service') ?? '')
      .setIssuedAt()
      .setNotBefore('0s')
      .setExpirationTime(`${lasts}s`)
      .setJti(randomUUID())
      .sign(createPrivateKey(signer.keyPem))
  }

  function granted(scope: string): Access[] {
    const [type = '', name = '', actions = ''] = scope.split(':')
    const allowed = actions.split(',').filter((action) => action === 'pull')
    const isOurs = type === 'repository' && name.startsWith(`${project}/`)
    return isOurs && allowed.length > 0 ? [{ type, name, actions: allowed }] : []
  }

  async function answerToken(asked: IncomingMessage, response: ServerResponse): Promise<void> {
    const token = await tokenFor(asked)
    const type = { 'content-type': 'application/json; charset=utf-8' }
    if (token === undefined) {
      const errors = [{ code: 'UNAUTHORIZED', message: 'unauthorized: unauthorized' }]
      response.writeHead(401, { ...type, 'www-authenticate': 'Basic realm="harbor"' })
      response.end(JSON.stringify({ errors }))
      return
    }
    response.writeHead(200, type)
    const issued = { expires_in: lasts, issued_at: new Date().toISOString() }
    response.end(JSON.stringify({ token, ...issued }))
  }

  function pass(asked: IncomingMessage, response: ServerResponse): void {
    const { method = 'GET', url = '/', headers } = asked
    const passed = request(`http://${registry.address}${url}`, { method, headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.rawHeaders)
      answer.pipe(response)
    })
    asked.pipe(passed.on('error', (error) => response.destroy(error)))
  }

  const server = createServer((asked, response) => {
    if (asked.url?.startsWith('/service/token') !== true) pass(asked, response)
    // It knows no OAuth, which containerd tries first.
    else if (asked.method !== 'GET') response.writeHead(405).end()
    else void answerToken(asked, response)
  })
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  await once(server.listen(Number(address.split(':')[1]), '127.0.0.1'), 'listening')
  return { address, robot }
}

function derOf(pem: string): string {
  return pem.replaceAll(/-----.*-----|\s/g, '')
}
