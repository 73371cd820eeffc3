// State folders of the product's own authority, and OpenSSL as their judge.
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import type { Test } from 'tap'
import { found } from '../../src/pki/init.ts'
import { issue, type Issuance, type IssuanceOptions } from '../../src/pki/issue.ts'

export interface Ran {
  status: number | null
  stdout: string
  stderr: string
}

/** A fresh folder with an authority. */
export async function makeFolder(t: Test, intermediate = false): Promise<string> {
  const dir = join(t.testdir({}), 'certs')
  await found({ dir }, { commonName: 'Test CA', intermediate, algorithm: 'P-256' })
  return dir
}

/** A client certificate with every default, unless `options` say else. */
export function issueClient(
  dir: string,
  name: string,
  options: Partial<IssuanceOptions> = {},
): Promise<Issuance> {
  return issue({ dir }, { name, profile: 'client', algorithm: 'P-256', force: false, ...options })
}

export function openssl(args: string[], input?: string): Ran {
  return spawnSync('openssl', args, { encoding: 'utf8', ...(input === undefined ? {} : { input }) })
}

/** What OpenSSL's strictest verification says of `<name>.crt`, revocation of the whole chain included. */
export function verify(dir: string, name: string): string {
  const chain = join(dir, `${name}.crt`)
  const { stdout, stderr } = openssl([
    'verify',
    '-x509_strict',
    '-crl_check_all',
    '-CAfile',
    join(dir, 'ca.crt'),
    '-CRLfile',
    join(dir, 'ca.crl'),
    '-untrusted',
    chain,
    chain,
  ])
  return /: OK$/m.test(stdout) ? 'OK' : (/error \d+ .*lookup: ?(.*)/.exec(stderr)?.[1] ?? stderr)
}
