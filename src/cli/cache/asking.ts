// Asks the admin API about a cache: of the gateway that uses it, or where none does, of one made here.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import Fastify from 'fastify'
import type { Logger } from 'pino'
import { adminApi } from '../../admin/api/api.ts'
import type { ProblemDocument } from '../../admin/api/problem.ts'
import { askInFolder } from '../../admin/control-socket.ts'
import { uncounted } from '../../cache/context.ts'
import { openCache } from '../../cache/open-cache.ts'
import type { Config } from '../../config/schema.ts'
import { GatewayError, systemCode, UsageError, type Problem } from '../../errors.ts'
import { createLog } from '../../log/log.ts'
import { namingOf, parseReference } from '../../transfer/image-name.ts'

/** The body of an answer that is none of failure. Rejects as `failureOf` says otherwise. */
export type Ask = (method: 'GET' | 'POST', path: string, body?: object) => Promise<unknown>

/** The work failed, exit code 1: with what the admin API says of it. */
export class RequestFailure extends Error {
  override readonly name = 'RequestFailure'
  readonly problem: ProblemDocument

  constructor(problem: ProblemDocument) {
    super(problem.detail)
    this.problem = problem
  }
}

/**
 * Runs `work` with what asks the gateway that uses the cache, so that it notices at once. Where none
 * runs, the same is done by this process. Throws UsageError `cache.dir` where there is no cache.
 */
export async function withCache<Result>(
  config: Config,
  work: (ask: Ask) => Promise<Result>,
): Promise<Result> {
  const { dir } = config.cache
  if (!existsSync(join(dir, 'format'))) {
    throw new UsageError([
      { path: 'cache.dir', message: `${dir} holds no cache, or none that you may see` },
    ])
  }
  if (!(await isServed(dir))) return withOwn(config, work)
  return work(async (method, path, body) => {
    const answer = await askInFolder(dir, { method, path: `/api/v1${path}`, body })
    if (answer === undefined) throw new Error('the gateway has ended meanwhile: try again')
    return bodyOf(answer.status, answer.body)
  })
}

const health = { method: 'GET', path: '/healthz', patience: 10_000 }

async function isServed(dir: string): Promise<boolean> {
  try {
    return (await askInFolder(dir, health)) !== undefined
  } catch (error) {
    if (!['EACCES', 'EPERM'].includes(systemCode(error))) throw error
    const message = `${dir} is another user's: run this as the user of the gateway`
    throw new UsageError([{ path: 'cache.dir', message }])
  }
}

async function withOwn<Result>(
  config: Config,
  work: (ask: Ask) => Promise<Result>,
): Promise<Result> {
  const log = await createLog({ ...config.log, level: 'error' }, process.stderr.fd)
  const cache = openOffline(config, log.logger)
  const naming = namingOf(config)
  const api = Fastify()
  try {
    await api.register(adminApi, {
      cache,
      parseImage: (text: string) => parseReference(text, naming),
      log: log.logger,
    })
    return await work(async (method, url, body) => {
      const payload = body === undefined ? {} : { payload: body }
      const answer = await api.inject({ method, url, ...payload })
      return bodyOf(answer.statusCode, answer.payload)
    })
  } finally {
    await api.close()
    await cache.close()
    log.close()
  }
}

function openOffline({ cache }: Config, log: Logger) {
  const ignore = () => undefined
  return openCache({
    ...cache,
    // Only what was asked for goes: whoever looks in is not to make room for the gateway.
    maxBytes: Number.MAX_SAFE_INTEGER,
    minFree: 0,
    openUpstream: () => {
      throw new GatewayError('UNAVAILABLE', 'this command asks no upstream')
    },
    freshnessOf: () => ({ tagTtl: 0, staleIfError: 0 }),
    offline: () => true,
    report: ignore,
    log,
    metrics: uncounted,
  })
}

function bodyOf(status: number, text: string): unknown {
  const body: unknown = JSON.parse(text)
  if (status < 400) return body
  const problem = body as ProblemDocument
  if (problem.errors === undefined) throw new RequestFailure(problem)
  throw aboutOptions(problem.errors)
}

/** The same problems, said of options. */
export function aboutOptions(problems: readonly Problem[]): UsageError {
  return new UsageError(problems.map(({ path, message }) => ({ path: optionOf(path), message })))
}

/** `olderThan` of a body is `--older-than` on a command line; what is no key stays. */
function optionOf(path: string): string {
  if (!/^[a-z]+([A-Z][a-z]+)*$/.test(path)) return path
  return `--${path.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`
}

/** All entries of a list, those of all pages. */
export async function allOf<Entry>(
  ask: Ask,
  list: 'images' | 'blobs',
  match: string | undefined,
): Promise<Entry[]> {
  const entries: Entry[] = []
  const query = new URLSearchParams({ limit: '1000', ...(match === undefined ? {} : { match }) })
  for (;;) {
    const page = (await ask('GET', `/${list}?${query.toString()}`)) as Record<string, unknown>
    for (const entry of page[list] as Entry[]) entries.push(entry)
    if (typeof page['next'] !== 'string') return entries
    query.set('cursor', page['next'])
  }
}
