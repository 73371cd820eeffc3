// The certificates of the lab as files: two authorities that know nothing of each other, and a stranger.
import { copyFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createAuthority, issueCertificate, type IssueOptions } from '../../../src/pki/authority.ts'
import { subfolder } from './folder.ts'

/** Paths of two PEM files. */
export interface Pair {
  cert: string
  key: string
}

type AuthorityName = 'upstream' | 'edge' | 'stranger'

export interface Certificates {
  /** CA certificates. `upstream` is between gateway and nginx, `edge` between clients and gateway. */
  ca: Record<AuthorityName, string>
  /** nginx's, for 127.0.0.1 and nginx.local. */
  nginx: Pair
  /** What the gateway shows to nginx: CN=gateway. */
  gatewayClient: Pair
  /** The gateway's, for 127.0.0.1 and gateway.test. */
  gateway: Pair
  /** What clients show to the gateway: CN=edge-1. */
  client: Pair
  /** Issues `<name>.crt` and `<name>.key`, for whatever is to go wrong. */
  issue: (name: string, by: AuthorityName, options: Partial<IssueOptions>) => Promise<Pair>
}

/** Dates of a certificate that was good until yesterday. */
export const expired = {
  notBefore: new Date(Date.now() - 2 * 86_400_000),
  notAfter: new Date(Date.now() - 86_400_000),
}

/** Names by which a server on this machine is reached. */
export const here = { ipAddresses: ['127.0.0.1'] }

export async function makeCertificates(folder: string): Promise<Certificates> {
  const authorities = {
    upstream: await createAuthority({ commonName: 'Upstream CA' }),
    edge: await createAuthority({ commonName: 'Edge CA' }),
    stranger: await createAuthority({ commonName: 'Stranger CA' }),
  }
  const write = (name: string, text: string): string => {
    const file = join(folder, name)
    writeFileSync(file, text, { mode: 0o600 })
    return file
  }
  const issue: Certificates['issue'] = async (name, by, options) => {
    const issued = await issueCertificate(authorities[by], {
      profile: 'client',
      commonName: name,
      ...options,
    })
    return {
      cert: write(`${name}.crt`, issued.certificatePem),
      key: write(`${name}.key`, issued.keyPem),
    }
  }
  const caFile = (name: AuthorityName) => write(`${name}-ca.crt`, authorities[name].certificatePem)
  return {
    ca: { upstream: caFile('upstream'), edge: caFile('edge'), stranger: caFile('stranger') },
    nginx: await issue('nginx', 'upstream', {
      profile: 'server',
      dnsNames: ['nginx.local'],
      ...here,
    }),
    gatewayClient: await issue('gateway-client', 'upstream', { commonName: 'gateway' }),
    gateway: await issue('gateway', 'edge', {
      profile: 'server',
      dnsNames: ['gateway.test'],
      ...here,
    }),
    client: await issue('edge-1', 'edge', {}),
    issue,
  }
}

/** A folder as docker, podman and skopeo want it: the ending of a name says what the file is. */
export function certificateFolder(folder: string, ca: string, client?: Pair): string {
  subfolder(folder)
  copyFileSync(ca, join(folder, 'ca.crt'))
  if (client !== undefined) {
    copyFileSync(client.cert, join(folder, 'client.cert'))
    copyFileSync(client.key, join(folder, 'client.key'))
  }
  return folder
}
