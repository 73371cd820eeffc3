// The state folder of an authority: which file is which, and the authority read back from it.
import { KeyObject, X509Certificate as NodeCertificate } from 'node:crypto'
import { join } from 'node:path'
import 'reflect-metadata'
import { X509Certificate } from '@peculiar/x509'
import { messageOf, UsageError } from '../../errors.ts'
import { authorityOf, type Authority } from '../authority.ts'
import { checkWritable, inFolder, readIfThere } from './files.ts'
import { readKey } from '../key.ts'
import { withLock } from './lock.ts'

/** `ca` is the root; `issuing`, where there is one, signs everything else in its place. */
export type AuthorityName = 'ca' | 'issuing'

export interface AuthorityFolder {
  dir: string
  /** Of the authorities' keys, where they are encrypted. */
  passphrase?: string
}

/** Runs `work` as the only writer of a folder that has an authority. */
export async function changing<T>(dir: string, work: () => Promise<T>): Promise<T> {
  return inFolder(dir, async () => {
    if (readIfThere(join(dir, 'ca.crt')) === undefined) {
      const message = `${dir} has no authority (ca.crt): make one with "pki init"`
      throw new UsageError([{ path: '--dir', message }])
    }
    checkWritable(dir)
    return withLock(dir, work)
  })
}

/** The authority that signs leaves. Throws UsageError where its files do not fit or have expired. */
export async function openSigner(folder: AuthorityFolder): Promise<Authority> {
  const name = readIfThere(join(folder.dir, 'issuing.crt')) === undefined ? 'ca' : 'issuing'
  const authority = await openAuthority(folder, name)
  const end = authority.certificate.notAfter
  if (end.getTime() > Date.now()) return authority
  const message = `has expired on ${end.toISOString().slice(0, 10)}: "pki renew ${name}" first`
  throw unusable(`${name}.crt`, message)
}

/** Reads certificate and key. Throws UsageError where one is missing or wrong, or they do not match. */
export async function openAuthority(
  folder: AuthorityFolder,
  name: AuthorityName,
): Promise<Authority> {
  const certificate = readAuthority(folder, name)
  const keyPem = needed(folder.dir, `${name}.key`)
  const key = told(`${name}.key`, () => readKey(keyPem, folder.passphrase))
  if (
    !new NodeCertificate(Buffer.from(certificate.rawData)).checkPrivateKey(
      KeyObject.from(key.privateKey),
    )
  ) {
    throw unusable(`${name}.key`, `does not match ${name}.crt: restore the right one`)
  }
  return authorityOf(certificate, key, name === 'issuing')
}

/** The certificate alone. Throws UsageError where it is missing or no authority's. */
export function readAuthority({ dir }: AuthorityFolder, name: AuthorityName): X509Certificate {
  const file = `${name}.crt`
  const pem = needed(dir, file)
  return told(file, () => {
    const certificate = parseCertificate(pem)
    if (!certificate.ca) throw new Error("is no authority's certificate")
    return new X509Certificate(certificate.raw)
  })
}

function parseCertificate(pem: string): NodeCertificate {
  try {
    return new NodeCertificate(pem)
  } catch (cause) {
    throw new Error('has no usable PEM certificate (-----BEGIN CERTIFICATE-----)', { cause })
  }
}

function needed(dir: string, file: string): string {
  const text = readIfThere(join(dir, file))
  if (text === undefined) throw unusable(file, `is missing in ${dir}: bring it back for this`)
  return text
}

function told<T>(file: string, read: () => T): T {
  try {
    return read()
  } catch (error) {
    throw unusable(file, messageOf(error))
  }
}

function unusable(file: string, message: string): UsageError {
  return new UsageError([{ path: file, message }])
}
