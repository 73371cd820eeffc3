// Whom a rule is for.
import type { WhoConfig } from '../config/access-schema.ts'
import { claimValues } from '../config/claim.ts'
import { compileNamePattern, coversNamePattern } from '../rules/distinguished-name.ts'
import { compileGlob, coversGlob, type Separator } from '../rules/glob.ts'
import type { Subject } from './subject.ts'

/** Whether a rule is for this caller. */
export type Who = (subject: Subject) => boolean

type ListKey = 'cn' | 'dns' | 'uri' | 'subject' | 'issuer' | 'group'

const separators: Record<ListKey, Separator> = {
  cn: undefined,
  dns: '.',
  uri: '/',
  subject: undefined,
  issuer: undefined,
  group: undefined,
}

const listKeys = Object.keys(separators) as ListKey[]

/** All that is given must match; nothing given is everybody. */
export function compileWho(who: WhoConfig | undefined): Who {
  if (who === undefined) return () => true
  const tests: Who[] = []
  for (const key of listKeys) {
    const patterns = who[key]
    if (patterns !== undefined) tests.push(namesTest(key, patterns, who.issuer !== undefined))
  }
  for (const [claim, patterns] of Object.entries(who.claim ?? {})) {
    const matches = anyOf(patterns, undefined)
    tests.push(({ token }) => token !== undefined && claimValues(token.claims, claim).some(matches))
  }
  const { anonymous } = who
  if (anonymous !== undefined) tests.push((subject) => isAnonymous(subject) === anonymous)
  return (subject) => tests.every((test) => test(subject))
}

/** Whether everybody of `inner` is also of `outer`; may be wrong only with `false`. */
export function coversWho(outer: WhoConfig | undefined, inner: WhoConfig | undefined): boolean {
  if (outer === undefined) return true
  const given = inner ?? {}
  if (outer.anonymous !== undefined && outer.anonymous !== given.anonymous) {
    const identified = outer.anonymous
      ? false
      : Object.keys(given).some((key) => key !== 'anonymous')
    if (!identified) return false
  }
  // Beside an issuer, `subject` is another name.
  if (
    outer.subject !== undefined &&
    (outer.issuer === undefined) !== (given.issuer === undefined)
  ) {
    return false
  }
  // Both are of the same kind here: a subject of a certificate, or of a token.
  const ofName = outer.issuer === undefined
  return (
    listKeys.every((key) =>
      key === 'subject' && ofName
        ? coversList(outer[key], given[key], coversNamePattern)
        : coversList(outer[key], given[key], coversBy(separators[key])),
    ) &&
    Object.entries(outer.claim ?? {}).every(([claim, patterns]) =>
      coversList(patterns, given.claim?.[claim], coversBy(undefined)),
    )
  )
}

function namesTest(key: ListKey, patterns: readonly string[], ofToken: boolean): Who {
  if (key === 'uri') return uriTest(patterns)
  if (key === 'subject' && !ofToken) return subjectTest(patterns)
  const matches = anyOf(
    key === 'dns' ? patterns.map((pattern) => pattern.toLowerCase()) : patterns,
    separators[key],
  )
  const namesOf = key === 'subject' && ofToken ? tokenSubject : names[key]
  return (subject) => namesOf(subject).some(matches)
}

/** By its parts: as text, a comma within a common name would make a part of its own. */
function subjectTest(patterns: readonly string[]): Who {
  const compiled = patterns.map(compileNamePattern).filter((pattern) => pattern !== undefined)
  return (subject) =>
    names.subject(subject).some((name) => compiled.some((pattern) => pattern.matches(name)))
}

/** Patterns for SPIFFE IDs look only at what the X.509-SVID rules accept as one. */
function uriTest(patterns: readonly string[]): Who {
  const isSpiffe = (pattern: string) => pattern.startsWith('spiffe://')
  const spiffe = anyOf(patterns.filter(isSpiffe), '/')
  const other = anyOf(
    patterns.filter((pattern) => !isSpiffe(pattern)),
    '/',
  )
  return ({ certificate }) => {
    if (certificate === undefined) return false
    const { spiffeId, uris } = certificate
    return (
      (spiffeId !== undefined && (spiffe(spiffeId) || other(spiffeId))) ||
      uris.some((uri) => !uri.toLowerCase().startsWith('spiffe:') && other(uri))
    )
  }
}

/** Where the names are that a key's patterns are for. */
const names: Record<ListKey, (subject: Subject) => readonly string[]> = {
  cn: ({ certificate }) => present(certificate?.commonName),
  dns: ({ certificate }) => certificate?.dnsNames.map((name) => name.toLowerCase()) ?? [],
  uri: ({ certificate }) => certificate?.uris ?? [],
  subject: ({ certificate }) => present(certificate?.subject),
  issuer: ({ token }) => present(token?.issuer),
  group: ({ token }) => token?.groups ?? [],
}

const tokenSubject = ({ token }: Subject) => present(token?.subject)

function present(name: string | undefined): string[] {
  return name === undefined || name === '' ? [] : [name]
}

function isAnonymous({ certificate, token }: Subject): boolean {
  return certificate === undefined && token === undefined
}

function anyOf(patterns: readonly string[], separator: Separator): (name: string) => boolean {
  const globs = patterns.map((pattern) => compileGlob(pattern, separator))
  return (name) => globs.some((glob) => glob.matches(name))
}

function coversList(
  outer: readonly string[] | undefined,
  inner: readonly string[] | undefined,
  covers: (outer: string, inner: string) => boolean,
): boolean {
  if (outer === undefined) return true
  if (inner === undefined) return false
  return inner.every((one) => outer.some((other) => covers(other, one)))
}

function coversBy(separator: Separator): (outer: string, inner: string) => boolean {
  return (outer, inner) => coversGlob(outer, inner, separator)
}
