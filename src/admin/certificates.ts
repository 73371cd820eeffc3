// Whether the certificates of a listener are valid at this moment, for the readiness check.
import { readFile, stat } from 'node:fs/promises'
import { LRUCache } from 'lru-cache'
import type { ListenerTlsConfig } from '../config/schema.ts'
import { messageOf } from '../errors.ts'
import { isNewer, nameText, parseSteps, type Crl } from '../listener/trust/crl-parser.ts'
import { inTurns, type Turn } from '../listener/trust/steps.ts'
import { parseCertificates } from '../rules/pem-files.ts'

export interface ListenerProblems {
  /** No client can be served. */
  fatal: string[]
  /** Some clients cannot. */
  partial: string[]
}

/**
 * What is wrong with the files of `tls` now: unreadable, not valid yet, expired, outdated beyond
 * `crlMaxStale`. One sentence each, beginning with the field path below `at`, such as `listen.tls`.
 * Of several authorities or lists one that is right is enough to serve somebody.
 */
export type CertificateCheck = (
  tls: ListenerTlsConfig,
  at: string,
  now?: number,
) => Promise<ListenerProblems>

/** When something in a file is valid, ms since the epoch. */
interface Span {
  /** The issuer of a list, RFC 4514. */
  name: string
  from: number
  until: number
}

type Read = (content: Buffer) => readonly Span[] | Promise<readonly Span[]>
type SpansOf = (file: string) => Promise<readonly Span[]>
type Judge = (spans: readonly Span[], now: number) => string | undefined

/** More than a tick of any clock: two writes within one tick leave the same dates. */
const tick = 100

/** Remembers what each file says until the file changes: probes come every few seconds. */
export function createCertificateCheck(turn?: Turn): CertificateCheck {
  const certificates = rememberSpans((content) => certificateSpans(content.toString()))
  const revocations = rememberSpans(async (content) =>
    listSpans(await inTurns(parseSteps(content), turn)),
  )

  async function check(at: string, spans: Promise<readonly Span[]>, judge: Judge, now: number) {
    try {
      const problem = judge(await spans, now)
      return problem === undefined ? [] : [`${at}: ${problem}`]
    } catch (error) {
      return [`${at}: cannot be used: ${messageOf(error)}`]
    }
  }

  return async (tls, at, now = Date.now()) => {
    const isChecked = tls.clientAuth !== 'none'
    const all = (
      files: readonly string[],
      key: string,
      spans: SpansOf,
      judge: Judge,
      then: number,
    ) =>
      Promise.all(
        files.map((file, index) => check(`${at}.${key}.${index}`, spans(file), judge, then)),
      )
    const authorities = isChecked ? tls.clientCa : []
    const lists = isChecked ? tls.crl : []
    const [own, ofAuthorities, ofLists] = await Promise.all([
      tls.cert === undefined ? [] : check(`${at}.cert`, certificates(tls.cert), leafProblem, now),
      all(authorities, 'clientCa', certificates, caProblem, now),
      all(lists, 'crl', revocations, listProblem, now - tls.crlMaxStale),
    ])
    const groups = [ofAuthorities, ofLists].map((problems) => ({
      problems: problems.flat(),
      isFatal: tls.clientAuth === 'required' && problems.every(({ length }) => length > 0),
    }))
    return {
      fatal: [...own, ...groups.flatMap(({ problems, isFatal }) => (isFatal ? problems : []))],
      partial: groups.flatMap(({ problems, isFatal }) => (isFatal ? [] : problems)),
    }
  }
}

function rememberSpans(read: Read): SpansOf {
  const remembered = new LRUCache<string, { state: string; spans: Promise<readonly Span[]> }>({
    max: 100,
  })
  return async (file) => {
    const { dev, ino, size, mtimeNs, ctimeNs, ctimeMs } = await stat(file, { bigint: true })
    const state = [dev, ino, size, mtimeNs, ctimeNs].join(' ')
    const known = remembered.get(file)
    if (known?.state === state) return known.spans
    const content = readFile(file)
    const spans = content.then(read)
    if (Date.now() - Number(ctimeMs) > tick) {
      remembered.set(file, { state, spans })
      // It may be read the next time though it has not changed.
      content.catch(() => remembered.delete(file))
    }
    return spans
  }
}

function certificateSpans(pem: string): Span[] {
  return parseCertificates(pem).map(({ subject, validFromDate, validToDate }) => ({
    name: subject,
    from: validFromDate.getTime(),
    until: validToDate.getTime(),
  }))
}

/** The newest list of each issuer counts: files hold old ones beside new ones. */
function listSpans(lists: readonly Crl[]): Span[] {
  const newest = new Map<string, Crl>()
  for (const crl of lists) {
    const issuer = crl.issuer.toString('hex')
    const known = newest.get(issuer)
    if (known === undefined || isNewer(crl, known)) newest.set(issuer, crl)
  }
  return [...newest.values()].map(({ issuer, thisUpdate, nextUpdate }) => ({
    name: nameText(issuer),
    from: thisUpdate,
    until: nextUpdate,
  }))
}

function listProblem(lists: readonly Span[], served: number): string | undefined {
  const outdated = lists.find(({ until }) => served >= until)
  if (outdated === undefined) return undefined
  return `the list of ${outdated.name} is outdated since ${new Date(outdated.until).toISOString()}`
}

function leafProblem([leaf]: readonly Span[], now: number): string | undefined {
  return leaf === undefined ? undefined : dateProblem(leaf, now)
}

/** One authority that is valid is enough: bundles hold old ones beside new ones. */
function caProblem(all: readonly Span[], now: number): string | undefined {
  const problems = all.map((span) => dateProblem(span, now))
  return problems.includes(undefined) ? undefined : problems[0]
}

function dateProblem({ from, until }: Span, now: number): string | undefined {
  if (now >= until) return `expired on ${new Date(until).toISOString()}`
  if (now < from) return `is not valid before ${new Date(from).toISOString()}`
  return undefined
}
