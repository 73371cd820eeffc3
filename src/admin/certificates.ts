// Whether the certificates of a listener are valid at this moment, for the readiness check.
import type { X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import type { ListenerTlsConfig } from '../config/schema.ts'
import { isNewer, nameText, parseCrls, type Crl } from '../listener/trust/crl-parser.ts'
import { parseCertificates } from '../rules/pem-files.ts'
import { messageOf } from '../errors.ts'

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
export async function certificateProblems(
  tls: ListenerTlsConfig,
  at: string,
  now = Date.now(),
): Promise<ListenerProblems> {
  const isChecked = tls.clientAuth !== 'none'
  const authorities = isChecked ? tls.clientCa : []
  const lists = isChecked ? tls.crl : []
  const [own, ofAuthorities, ofLists] = await Promise.all([
    tls.cert === undefined ? [] : check(`${at}.cert`, tls.cert, judgePem(leafProblem, now)),
    checkAll(authorities, `${at}.clientCa`, judgePem(caProblem, now)),
    checkAll(lists, `${at}.crl`, (content) => crlProblem(content, now - tls.crlMaxStale)),
  ])
  const isFatal = (problems: readonly string[], files: readonly string[]) =>
    tls.clientAuth === 'required' && problems.length > 0 && problems.length === files.length
  const groups = [
    { problems: own, isFatal: true },
    { problems: ofAuthorities, isFatal: isFatal(ofAuthorities, authorities) },
    { problems: ofLists, isFatal: isFatal(ofLists, lists) },
  ]
  return {
    fatal: groups.flatMap(({ problems, isFatal }) => (isFatal ? problems : [])),
    partial: groups.flatMap(({ problems, isFatal }) => (isFatal ? [] : problems)),
  }
}

type JudgeContent = (content: Buffer) => string | undefined

async function checkAll(files: readonly string[], at: string, judge: JudgeContent) {
  const checks = files.map(async (file, index) => check(`${at}.${index}`, file, judge))
  return (await Promise.all(checks)).flat()
}

async function check(path: string, file: string, judge: JudgeContent): Promise<string[]> {
  try {
    const problem = judge(await readFile(file))
    return problem === undefined ? [] : [`${path}: ${problem}`]
  } catch (error) {
    const reason = messageOf(error)
    return [`${path}: cannot be used: ${reason}`]
  }
}

type Judge = (certificates: readonly X509Certificate[], now: number) => string | undefined

function judgePem(judge: Judge, now: number): JudgeContent {
  return (content) => judge(parseCertificates(content.toString()), now)
}

/** The newest list of each issuer counts: files hold old ones beside new ones. */
function crlProblem(content: Buffer, served: number): string | undefined {
  const newest = new Map<string, Crl>()
  for (const crl of parseCrls(content)) {
    const issuer = crl.issuer.toString('hex')
    const known = newest.get(issuer)
    if (known === undefined || isNewer(crl, known)) newest.set(issuer, crl)
  }
  const outdated = [...newest.values()].find(({ nextUpdate }) => served >= nextUpdate)
  if (outdated === undefined) return undefined
  const since = new Date(outdated.nextUpdate).toISOString()
  return `the list of ${nameText(outdated.issuer)} is outdated since ${since}`
}

function leafProblem([leaf]: readonly X509Certificate[], now: number): string | undefined {
  return leaf === undefined ? undefined : dateProblem(leaf, now)
}

/** One authority that is valid is enough: bundles hold old ones beside new ones. */
function caProblem(all: readonly X509Certificate[], now: number): string | undefined {
  const problems = all.map((certificate) => dateProblem(certificate, now))
  return problems.includes(undefined) ? undefined : problems[0]
}

function dateProblem({ validFromDate, validToDate }: X509Certificate, now: number) {
  if (now >= validToDate.getTime()) return `expired on ${validToDate.toISOString()}`
  if (now < validFromDate.getTime()) return `is not valid before ${validFromDate.toISOString()}`
  return undefined
}
