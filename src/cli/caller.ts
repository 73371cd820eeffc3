// A caller as the command line describes it: `cn=edge-1`, `issuer=https://idp.example,group=dev`.
import { UsageError } from '../errors.ts'
import { isSpiffeId } from '../rules/spiffe.ts'
import type { Subject, TokenFacts } from '../policy/subject.ts'
import type { CertificateNames } from '../rules/certificate-names.ts'

const certificateKeys = ['cn', 'dns', 'uri', 'subject']
const tokenKeys = ['issuer', 'sub', 'group', 'claim']

/**
 * The caller that `texts` describe, each `key=value` pairs parted by commas. `subject` is that of the
 * certificate, `sub` that of the token; `claim` takes `claim:name=value`. `anonymous` is nobody.
 * Throws UsageError for what is none of that.
 */
export function parseCaller(texts: readonly string[]): Subject {
  const given = texts.flatMap((text) => text.split(/,(?=[a-z]+(?::[^=,]+)?=)/)).map(parsePair)
  const of = (key: string) => given.filter((pair) => pair.key === key).map(({ value }) => value)
  const has = (keys: readonly string[]) => given.some(({ key }) => keys.includes(key))
  return {
    key: texts.join(','),
    ...(has(certificateKeys) ? { certificate: certificateOf(of) } : {}),
    ...(has(tokenKeys) ? { token: tokenOf(of, given) } : {}),
  }
}

interface Pair {
  key: string
  /** What stands behind `claim:`. */
  claim: string
  value: string
}

function parsePair(text: string): Pair {
  if (text === 'anonymous') return { key: 'anonymous', claim: '', value: '' }
  const [, key = '', claim = '', value = ''] = /^([a-z]+)(?::([^=]+))?=(.+)$/s.exec(text) ?? []
  const known = [...certificateKeys, ...tokenKeys].includes(key)
  if (!known || (key === 'claim') !== (claim !== '')) {
    const keys = [...certificateKeys, 'issuer', 'sub', 'group', 'claim:NAME']
    const message = `${JSON.stringify(text)} is no caller: write ${keys.map((one) => `${one}=VALUE`).join(', ')} or anonymous`
    throw new UsageError([{ path: '--as', message }])
  }
  return { key, claim, value }
}

function certificateOf(of: (key: string) => string[]): CertificateNames {
  const [commonName = ''] = of('cn')
  const uris = of('uri')
  const [uri = ''] = uris
  return {
    commonName,
    subject: of('subject')[0] ?? (commonName === '' ? '' : `CN=${commonName}`),
    dnsNames: of('dns'),
    uris,
    ...(uris.length === 1 && isSpiffeId(uri) ? { spiffeId: uri } : {}),
  }
}

function tokenOf(of: (key: string) => string[], given: readonly Pair[]): TokenFacts {
  const claims = Map.groupBy(
    given.filter(({ key }) => key === 'claim'),
    ({ claim }) => claim,
  )
  return {
    issuer: of('issuer')[0] ?? '',
    subject: of('sub')[0] ?? '',
    groups: of('group'),
    claims: Object.fromEntries(
      [...claims].map(([claim, pairs]) => [claim, pairs.map(({ value }) => value)]),
    ),
  }
}
