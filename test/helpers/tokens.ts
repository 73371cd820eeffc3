// Token issuers for tests: keys, tokens right and wrong, and a JWKS server whose requests count.
import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import { exportJWK, generateKeyPair, SignJWT, type JWK, type JWTPayload } from 'jose'
import type { Test } from 'tap'
import type { TestCertificate } from './certificates.ts'

export interface TestIssuer {
  issuer: string
  audience: string
  publicJwk: JWK
  jwks: { keys: JWK[] }
  privateKey: CryptoKey
  /** A right token but for what is given; a claim that is undefined is left out. */
  sign(claims?: Record<string, unknown>, header?: Record<string, unknown>): Promise<string>
}

type CryptoKey = Awaited<ReturnType<typeof generateKeyPair>>['privateKey']

export async function createIssuer(
  issuer = 'https://idp.example',
  { algorithm = 'ES256', kid = 'key-1' } = {},
): Promise<TestIssuer> {
  const { publicKey, privateKey } = await generateKeyPair(algorithm, { extractable: true })
  const publicJwk = { ...(await exportJWK(publicKey)), kid, alg: algorithm, use: 'sig' }
  const audience = 'portcullis'
  return {
    issuer,
    audience,
    publicJwk,
    jwks: { keys: [publicJwk] },
    privateKey,
    async sign(claims = {}, header = {}) {
      const now = Math.floor(Date.now() / 1000)
      const all = { iss: issuer, aud: audience, sub: 'alice', iat: now, exp: now + 300, ...claims }
      const payload = JSON.parse(JSON.stringify(all)) as JWTPayload
      return new SignJWT(payload)
        .setProtectedHeader({ alg: algorithm, kid, typ: 'JWT', ...header })
        .sign(privateKey)
    },
  }
}

/** Serves what `answer` returns at the time: a document, or a status alone. */
export async function serveKeys(
  t: Test,
  certificate: TestCertificate,
  answer: () => object | number,
): Promise<{ url: string; requests: number; server: Server }> {
  const { certificatePem: cert, keyPem: key } = certificate
  const server = createServer({ cert, key }, (_req, res) => {
    counter.requests += 1
    const answered = answer()
    if (typeof answered === 'number') res.writeHead(answered).end()
    else res.end(JSON.stringify(answered))
  })
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve)
  })
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  const counter = { url: `https://localhost:${port}/jwks`, requests: 0, server }
  return counter
}
