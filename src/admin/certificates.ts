// Whether the certificates of a listener are valid at this moment, for the readiness check.
import type { X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import type { ListenerTlsConfig } from '../config/schema.ts'
import { parseCertificates } from '../listener/pem.ts'

/**
 * What is wrong with the certificate files of `tls` now: unreadable, not valid yet, expired. One
 * sentence each, beginning with the field path below `at`, such as `listen.tls`.
 */
export async function certificateProblems(
  tls: ListenerTlsConfig,
  at: string,
  now = Date.now(),
): Promise<string[]> {
  const authorities = tls.clientAuth === 'none' ? [] : tls.clientCa
  const checks = [
    ...(tls.cert === undefined ? [] : [check(`${at}.cert`, tls.cert, leafProblem, now)]),
    ...authorities.map((file, index) => check(`${at}.clientCa.${index}`, file, caProblem, now)),
  ]
  return (await Promise.all(checks)).flat()
}

type Judge = (certificates: readonly X509Certificate[], now: number) => string | undefined

async function check(path: string, file: string, judge: Judge, now: number): Promise<string[]> {
  try {
    const problem = judge(parseCertificates(await readFile(file, 'utf8')), now)
    return problem === undefined ? [] : [`${path}: ${problem}`]
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    return [`${path}: cannot be used: ${reason}`]
  }
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
