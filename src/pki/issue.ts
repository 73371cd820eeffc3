// Issues under a name: the certificate, its key, and the line in the ledger.
import { join } from 'node:path'
import type { Name, PublicKey } from '@peculiar/x509'
import { UsageError } from '../errors.ts'
import { certify, pemOf, subjectOf, type Authority } from './authority.ts'
import { readIfThere, secret, type NewFile } from './state/files.ts'
import { changing, openSigner, type AuthorityFolder } from './state/folder.ts'
import { generateKey, privateKeyPem, type KeyAlgorithm, type SigningKey } from './key.ts'
import { issuedEntry, record, type IssuedEntry } from './state/ledger.ts'
import { fileNameProblem } from './name-rules.ts'
import type { AlternativeNames } from './profile.ts'
import type { SigningRequest } from './request.ts'

export type LeafProfile = 'server' | 'client'

export interface IssuanceOptions extends AlternativeNames {
  /** What the files are called, and the common name unless a request has its own. */
  name: string
  profile: LeafProfile
  days?: number
  /** For the request of somebody who keeps the key: no key is made then. */
  request?: SigningRequest
  algorithm: KeyAlgorithm
  /** Encrypts the new key. */
  keyPassphrase?: string
  /** Replace the files of that name. */
  force: boolean
  companions?: Companions
}

/** Further files that come with a certificate: they are written with it, or it is not issued. */
export type Companions = (issuance: Issuance) => Promise<NewFile[]>

export interface Issuance {
  entry: IssuedEntry
  /** PEM: the leaf first, then the authorities up to the root, which is left out. */
  chainPem: string
  /** PEM, unencrypted; undefined where the key is elsewhere. */
  keyPem?: string
  /** Its own files. */
  files: string[]
}

/** A certificate to be made, and the key that goes with it into the folder. */
export interface CertificateDraft extends AlternativeNames {
  name: string
  profile: LeafProfile
  days?: number
  subject: Name
  publicKey: PublicKey | SigningKey['publicKey']
  key?: SigningKey
  keyPassphrase?: string
  /** PEM of the key that stays, where it is here. */
  oldKeyPem?: string
  companions?: Companions
}

/**
 * Writes `<name>.crt`, and `<name>.key` unless there is a request. Throws UsageError for what cannot
 * be issued; nothing has been written then.
 */
export async function issue(folder: AuthorityFolder, options: IssuanceOptions): Promise<Issuance> {
  const { name, request, force, algorithm } = options
  const problem = fileNameProblem(name)
  if (problem !== undefined) throw new UsageError([{ path: 'NAME', message: problem }])
  const names = allNames(options)
  const key = request === undefined ? await generateKey(algorithm) : undefined
  const draft = {
    ...options,
    ...names,
    ...(key === undefined ? {} : { key }),
    subject: request?.subject ?? subjectOf(name),
  }
  const publicKey = request?.publicKey ?? key?.publicKey
  if (publicKey === undefined) throw new Error('there is neither a key nor a request')
  return changing(folder.dir, async () => {
    if (!force) refuseExisting(folder.dir, name)
    return writeDraft(folder.dir, await openSigner(folder), { ...draft, publicKey })
  })
}

/** Signs the draft, notes it, and puts its files in place. Needs the folder's lock. */
export async function writeDraft(
  dir: string,
  authority: Authority,
  draft: CertificateDraft,
): Promise<Issuance> {
  const { name, profile, key, keyPassphrase } = draft
  const leafPem = pemOf(await certify(authority, draft))
  const chainPem = leafPem + authority.chainPem
  const entry = issuedEntry(leafPem, { ...draft, name, profile, issuer: authority.keyId })
  const keyFile =
    key === undefined
      ? []
      : [
          {
            path: join(dir, `${name}.key`),
            content: privateKeyPem(key, keyPassphrase),
            mode: secret,
          },
        ]
  const files = [...keyFile, { path: join(dir, `${name}.crt`), content: chainPem }]
  const keyPem = key === undefined ? draft.oldKeyPem : privateKeyPem(key)
  const issuance = {
    entry,
    chainPem,
    files: files.map(({ path }) => path),
    ...(keyPem === undefined ? {} : { keyPem }),
  }
  record(dir, [entry], [...files, ...((await draft.companions?.(issuance)) ?? [])])
  return issuance
}

/** Those of the request and those that were asked for, each once. */
function allNames({ request, ...asked }: IssuanceOptions): Required<AlternativeNames> {
  const both = (key: keyof AlternativeNames) => [
    ...new Set([...(request?.names[key] ?? []), ...(asked[key] ?? [])]),
  ]
  return { dnsNames: both('dnsNames'), ipAddresses: both('ipAddresses'), uris: both('uris') }
}

function refuseExisting(dir: string, name: string): void {
  const found = [`${name}.crt`, `${name}.key`].find(
    (file) => readIfThere(join(dir, file)) !== undefined,
  )
  if (found === undefined) return
  const message = `${join(dir, found)} exists: "pki renew ${name}" prolongs it, --force replaces it`
  throw new UsageError([{ path: 'NAME', message }])
}
