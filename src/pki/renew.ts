// Renews under the same name: the same subject and names, new dates, the same key or a new one.
import { X509Certificate as NodeCertificate } from 'node:crypto'
import { join } from 'node:path'
import 'reflect-metadata'
import { X509Certificate } from '@peculiar/x509'
import { UsageError } from '../errors.ts'
import { certifyAuthority } from './authority.ts'
import { readIfThere } from './state/files.ts'
import {
  changing,
  openAuthority,
  openSigner,
  type AuthorityFolder,
  type AuthorityName,
} from './state/folder.ts'
import { writeDraft, type Companions, type Issuance } from './issue.ts'
import { fileNameProblem } from './name-rules.ts'
import { keyAlgorithmOf, generateKey } from './key.ts'
import { issuedEntry, readLedger, record, type LedgerRecord } from './state/ledger.ts'

export interface RenewOptions {
  days?: number
  /** Make a new key of the same kind; otherwise the key stays, wherever it is. */
  newKey: boolean
  keyPassphrase?: string
  companions?: Companions
}

/** Renews `<name>.crt`, or an authority's. Throws UsageError where there is nothing to renew. */
export async function renew(
  folder: AuthorityFolder,
  name: string,
  options: RenewOptions,
): Promise<Issuance> {
  if (name === 'ca' || name === 'issuing') return renewAuthority(folder, name, options)
  const problem = fileNameProblem(name)
  if (problem !== undefined) throw refused(problem)
  return changing(folder.dir, async () => {
    const { dir } = folder
    const pem = readIfThere(join(dir, `${name}.crt`))
    if (pem === undefined) throw refused(`there is no ${name}.crt in ${dir} to renew`)
    const old = parse(pem, name)
    const { profile, dnsNames, ipAddresses, uris } = recordOf(dir, old, name)
    const { subjectName, publicKey } = new X509Certificate(old.raw)
    const key = options.newKey ? await generateKey(keyAlgorithmOf(old.publicKey)) : undefined
    const keyPem = key === undefined ? readIfThere(join(dir, `${name}.key`)) : undefined
    return writeDraft(dir, await openSigner(folder), {
      ...options,
      name,
      dnsNames,
      ipAddresses,
      uris,
      profile: profile === 'server' ? 'server' : 'client',
      subject: subjectName,
      publicKey: key?.publicKey ?? publicKey,
      ...(key === undefined ? {} : { key }),
      ...(keyPem === undefined ? {} : { oldKeyPem: keyPem }),
    })
  })
}

/** Keeps key and name, so that everything it has signed stays valid under the new certificate. */
async function renewAuthority(
  folder: AuthorityFolder,
  name: AuthorityName,
  { days, newKey, companions }: RenewOptions,
): Promise<Issuance> {
  if (companions !== undefined) throw refused('an authority is no client: leave out --for')
  if (newKey) {
    throw refused('an authority with a new key is another one: make it in a folder of its own')
  }
  return changing(folder.dir, async () => {
    const { dir } = folder
    const { key, certificate } = await openAuthority(folder, name)
    const parent = name === 'issuing' ? await openAuthority(folder, 'ca') : undefined
    const renewed = await certifyAuthority(key, {
      subject: certificate.subjectName,
      ...(days === undefined ? {} : { days }),
      ...(parent === undefined ? {} : { parent }),
    })
    const path = join(dir, `${name}.crt`)
    const entry = issuedEntry(renewed.certificatePem, {
      name,
      profile: name === 'ca' ? 'root' : 'issuing',
      issuer: parent?.keyId ?? renewed.keyId,
    })
    record(dir, [entry], [{ path, content: renewed.certificatePem }])
    return { entry, chainPem: renewed.certificatePem, files: [path] }
  })
}

function parse(pem: string, name: string): NodeCertificate {
  try {
    return new NodeCertificate(pem)
  } catch {
    throw refused(`${name}.crt is damaged: issue it again with --force`)
  }
}

function recordOf(dir: string, certificate: NodeCertificate, name: string): LedgerRecord {
  const record = readLedger(dir).find(({ serial }) => serial === certificate.serialNumber)
  if (record === undefined) throw refused(`${name}.crt was not issued here: it is in no ledger`)
  if (record.revoked === undefined) return record
  throw refused(`${name} was revoked: issue it again with --force, which makes a new key`)
}

function refused(message: string): UsageError {
  return new UsageError([{ path: 'NAME', message }])
}
