// The authority of a new state folder: a root, and on request one below it that issues.
import { join } from 'node:path'
import { UsageError } from '../errors.ts'
import { createAuthority, type Authority } from './authority.ts'
import { signCrl } from './crl.ts'
import {
  checkWritable,
  inFolder,
  makeFolder,
  readIfThere,
  secret,
  type NewFile,
} from './state/files.ts'
import type { AuthorityFolder, AuthorityName } from './state/folder.ts'
import { privateKeyPem, type KeyAlgorithm } from './key.ts'
import { issuedEntry, record } from './state/ledger.ts'
import { withLock } from './state/lock.ts'
import { defaultCrlDays } from './revoke.ts'

export interface FoundingOptions {
  /** Common name of the root; the issuing authority's has ` Issuing` behind it. */
  commonName: string
  intermediate: boolean
  algorithm: KeyAlgorithm
  /** Of the root. */
  days?: number
}

/**
 * Makes `ca.crt`, `ca.key` and `ca.crl`, and `issuing.crt` and `issuing.key` with an intermediate.
 * Throws UsageError where there is an authority already. Returns the files written.
 */
export async function found(folder: AuthorityFolder, options: FoundingOptions): Promise<string[]> {
  const { dir } = folder
  const { commonName, intermediate, algorithm, days } = options
  const root = await createAuthority({
    commonName,
    algorithm,
    ...(days === undefined ? {} : { days }),
  })
  const issuing = intermediate
    ? await createAuthority({ commonName: `${commonName} Issuing`, algorithm, parent: root })
    : undefined
  const named: [AuthorityName, Authority][] = [
    ['ca', root],
    ...(issuing === undefined ? [] : [['issuing', issuing] as [AuthorityName, Authority]]),
  ]
  return inFolder(dir, async () => {
    makeFolder(dir)
    checkWritable(dir)
    return withLock(dir, async () => {
      refuseExisting(dir)
      const lists = await Promise.all(
        named.map(([, one]) => signCrl(one, [], { days: defaultCrlDays, previous: [] })),
      )
      const files = [
        ...named.flatMap(([name, authority]) => filesOf(folder, name, authority)),
        { path: join(dir, 'ca.crl'), content: lists.join('') },
      ]
      const entries = named.map(([name, { certificatePem }]) =>
        issuedEntry(certificatePem, {
          name,
          profile: name === 'ca' ? 'root' : 'issuing',
          issuer: root.keyId,
        }),
      )
      record(dir, entries, files)
      return files.map(({ path }) => path)
    })
  })
}

function filesOf(
  { dir, passphrase }: AuthorityFolder,
  name: AuthorityName,
  { certificatePem, key }: Authority,
): NewFile[] {
  return [
    { path: join(dir, `${name}.key`), content: privateKeyPem(key, passphrase), mode: secret },
    { path: join(dir, `${name}.crt`), content: certificatePem },
  ]
}

function refuseExisting(dir: string): void {
  const found = ['ca.crt', 'ca.key', 'issuing.crt', 'issuing.key'].find(
    (file) => readIfThere(join(dir, file)) !== undefined,
  )
  if (found === undefined) return
  const message = `${dir} has an authority already (${found}): name another folder, or move it away`
  throw new UsageError([{ path: '--dir', message }])
}
