// Certificate signing requests (PKCS#10, RFC 2986): a key that stays where it was made.
import { createPublicKey } from 'node:crypto'
import 'reflect-metadata'
import {
  ExtensionsAttribute,
  Pkcs10CertificateRequest,
  SubjectAlternativeNameExtension,
  type Extension,
  type Name,
  type PublicKey,
} from '@peculiar/x509'
import { UsageError } from '../errors.ts'
import { keyProblem } from './key.ts'
import { commonNameProblem } from './name-rules.ts'
import type { AlternativeNames } from './profile.ts'

export interface SigningRequest {
  subject: Name
  commonName: string
  publicKey: PublicKey
  names: Required<AlternativeNames>
}

/**
 * Reads a request, PEM or DER: its subject and alternative names count, what else it asks for does
 * not. Throws UsageError where it is damaged, not signed by its own key, or the key is weak.
 */
export async function readRequest(bytes: Buffer): Promise<SigningRequest> {
  const request = parse(bytes)
  const weakness = keyProblem(publicKeyOf(request))
  if (weakness !== undefined) throw unusable(weakness)
  if (!(await isSignedByItsKey(request))) {
    throw unusable('has a bad signature: make the request anew on the node')
  }
  const commonName = request.subjectName.getField('CN').at(-1) ?? ''
  const problem = commonNameProblem(commonName)
  if (problem !== undefined) throw unusable(`has a subject whose common name ${problem}`)
  return {
    subject: request.subjectName,
    commonName,
    publicKey: request.publicKey,
    names: alternativeNamesIn(extensionsOf(request)),
  }
}

/** The DNS names, addresses and URIs among `extensions`. Throws UsageError for any other kind. */
function alternativeNamesIn(extensions: readonly Extension[]): Required<AlternativeNames> {
  const names = extensions
    .filter((extension) => extension instanceof SubjectAlternativeNameExtension)
    .flatMap((extension) => extension.names.items)
  const other = names.find(({ type }) => !['dns', 'ip', 'url'].includes(type))
  if (other !== undefined) {
    throw unusable(`has an alternative name of the kind "${other.type}": use DNS, IP or URI`)
  }
  const values = (type: string) =>
    names.filter((name) => name.type === type).map(({ value }) => value)
  return { dnsNames: values('dns'), ipAddresses: values('ip'), uris: values('url') }
}

function parse(bytes: Buffer): Pkcs10CertificateRequest {
  const text = bytes.toString('latin1')
  try {
    return new Pkcs10CertificateRequest(text.includes('-----BEGIN') ? text : bytes)
  } catch {
    throw unusable('is no certificate signing request (-----BEGIN CERTIFICATE REQUEST-----)')
  }
}

function publicKeyOf(request: Pkcs10CertificateRequest) {
  try {
    const key = Buffer.from(request.publicKey.rawData)
    return createPublicKey({ key, format: 'der', type: 'spki' })
  } catch {
    throw unusable('has a damaged public key')
  }
}

async function isSignedByItsKey(request: Pkcs10CertificateRequest): Promise<boolean> {
  try {
    return await request.verify()
  } catch {
    return false
  }
}

function extensionsOf(request: Pkcs10CertificateRequest): Extension[] {
  return request.attributes.flatMap((attribute) =>
    attribute instanceof ExtensionsAttribute ? attribute.items : [],
  )
}

function unusable(message: string): UsageError {
  return new UsageError([{ path: '--csr', message }])
}
