// What a certificate is for, said in the extensions that RFC 5280 asks for.
import 'reflect-metadata'
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  type Extension,
  type JsonGeneralNames,
  type PublicKeyType,
} from '@peculiar/x509'

/** `root` and `issuing` sign certificates, `issuing` only those of leaves. */
export type Profile = 'root' | 'issuing' | 'server' | 'client'

export interface AlternativeNames {
  dnsNames?: readonly string[]
  /** IPv4 or IPv6. */
  ipAddresses?: readonly string[]
  /** SPIFFE IDs, for instance. */
  uris?: readonly string[]
}

/**
 * The extensions of a certificate of `subjectKey`. `issuerKeyId` is the subject key identifier of
 * the authority that signs it, hex; the certificate's own where it signs itself.
 */
export async function extensionsFor(
  profile: Profile,
  names: AlternativeNames,
  keys: { subjectKey: PublicKeyType; issuerKeyId: string | undefined },
): Promise<Extension[]> {
  const alternatives = generalNames(names)
  const subjectKeyId = await SubjectKeyIdentifierExtension.create(keys.subjectKey)
  return [
    ...usageOf(profile),
    subjectKeyId,
    new AuthorityKeyIdentifierExtension(keys.issuerKeyId ?? subjectKeyId.keyId),
    ...(alternatives.length === 0 ? [] : [new SubjectAlternativeNameExtension(alternatives)]),
  ]
}

function usageOf(profile: Profile): Extension[] {
  if (profile === 'root') return authorityUsage(undefined)
  if (profile === 'issuing') return authorityUsage(0)
  return leafUsage(ExtendedKeyUsage[profile === 'server' ? 'serverAuth' : 'clientAuth'])
}

function authorityUsage(pathLength: number | undefined): Extension[] {
  return [
    new BasicConstraintsExtension(true, pathLength, true),
    new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
  ]
}

/** Every cipher suite with forward secrecy needs signatures only, RSA keys included. */
function leafUsage(purpose: string): Extension[] {
  return [
    new BasicConstraintsExtension(false, undefined, true),
    new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
    new ExtendedKeyUsageExtension([purpose]),
  ]
}

function generalNames({ dnsNames, ipAddresses, uris }: AlternativeNames): JsonGeneralNames {
  return [
    ...(dnsNames ?? []).map((value) => ({ type: 'dns' as const, value })),
    ...(ipAddresses ?? []).map((value) => ({ type: 'ip' as const, value })),
    ...(uris ?? []).map((value) => ({ type: 'url' as const, value })),
  ]
}
