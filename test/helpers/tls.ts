// A ready-made set of certificates, right and wrong, made once for each test process.
import {
  createAuthority,
  issueCertificate,
  type Authority,
  type Issued,
} from '../../src/pki/authority.ts'

export interface TestPki {
  ca: Authority
  otherCa: Authority
  /** For localhost, 127.0.0.1 and ::1. */
  server: Issued
  /** The same names with another key. */
  spareServer: Issued
  expiredServer: Issued
  /** For elsewhere.example only. */
  wrongNameServer: Issued
  otherServer: Issued
  /** CN=client. */
  client: Issued
  expiredClient: Issued
  notYetValidClient: Issued
  /** CN=client as well, of the other CA. */
  otherClient: Issued
}

const day = 86_400_000
let made: Promise<TestPki> | undefined

export function testPki(): Promise<TestPki> {
  made ??= makePki()
  return made
}

async function makePki(): Promise<TestPki> {
  const [ca, otherCa] = await Promise.all([
    createAuthority({ commonName: 'Test CA' }),
    createAuthority({ commonName: 'Other CA' }),
  ])
  const here = { dnsNames: ['localhost'], ipAddresses: ['127.0.0.1', '::1'] }
  const past = { notBefore: new Date(Date.now() - 2 * day), notAfter: new Date(Date.now() - day) }
  const future = { notBefore: new Date(Date.now() + day), notAfter: new Date(Date.now() + 2 * day) }
  const serverOf = (authority: Authority, options: object) =>
    issueCertificate(authority, { profile: 'server', commonName: 'localhost', ...options })
  const clientOf = (authority: Authority, options: object = {}) =>
    issueCertificate(authority, { profile: 'client', commonName: 'client', ...options })
  return {
    ca,
    otherCa,
    server: await serverOf(ca, here),
    spareServer: await serverOf(ca, here),
    expiredServer: await serverOf(ca, { ...here, ...past }),
    wrongNameServer: await serverOf(ca, { dnsNames: ['elsewhere.example'] }),
    otherServer: await serverOf(otherCa, here),
    client: await clientOf(ca),
    expiredClient: await clientOf(ca, past),
    notYetValidClient: await clientOf(ca, future),
    otherClient: await clientOf(otherCa),
  }
}
