// `portcullis doctor`: what is right and wrong between this machine and each upstream.
import { loadConfig } from '../config/load.ts'
import type { Config } from '../config/schema.ts'
import { GatewayError, UsageError } from '../errors.ts'
import { createChooser, createUpstreamFinder } from '../config/upstream-names.ts'
import { diagnose, type Diagnosis } from '../upstream/doctor/diagnosis.ts'
import { parseUpstreamImage, type Image } from '../upstream/doctor/image.ts'
import { openIdentities, readUpstreamFiles } from '../upstream/endpoints/files.ts'
import { defineCommand } from './command.ts'
import { configFile, configOption, jsonOption } from './options.ts'
import { printJson, printLine } from './output/print.ts'
import { askReadiness, readinessLines, type ToldReadiness } from './service/readiness.ts'
import { judgeSharedStore } from '../transfer/shared/store.ts'
import { formatDiagnosis } from './output/diagnosis-text.ts'

export const command = defineCommand({
  usage: 'doctor [--config FILE] [--image REPOSITORY[:TAG]] [--json] [UPSTREAM ...]',
  summary:
    'Asks each upstream, step by step: name, connection, TLS and its modes, credentials, a manifest, a range.',

  options: {
    config: configOption,
    image: {
      type: 'string',
      value: 'REPOSITORY[:TAG]',
      help: 'what to try to pull, of the one upstream named; an image that is found when absent',
    },
    json: jsonOption,
  },
  takesArguments: true,

  async run({ values, positionals }) {
    const config = await loadConfig(configFile(values.config))
    const names = chosenNames(config, positionals)
    const image = values.image === undefined ? undefined : chosenImage(config, names, values.image)
    const chosen = Object.fromEntries(
      Object.entries(config.upstreams).filter(([name]) => names.has(name)),
    )

    const diagnoses: Diagnosis[] = []
    for (const prepared of readUpstreamFiles(chosen, await openIdentities(chosen))) {
      const diagnosis = await diagnose(prepared, image)
      diagnoses.push(diagnosis)
      if (!values.json) process.stdout.write(formatDiagnosis(diagnosis))
    }
    const store = positionals.length > 0 ? undefined : await storeState(config)
    const gateway = positionals.length > 0 ? undefined : await gatewayState(config)
    const works = diagnoses.every((diagnosis) => diagnosis.ok) && store?.ok !== false
    const ok = works && gateway?.status !== 'not ready'
    if (values.json) {
      printJson({ ok, upstreams: diagnoses, ...(store && { store }), ...(gateway && { gateway }) })
    } else {
      if (store !== undefined) {
        printLine(`shared store: ${store.ok ? 'as configured, it works' : store.problem}`)
      }
      const [status, ...reasons] = gateway === undefined ? [] : readinessLines(gateway)
      if (status !== undefined) printLine(`the gateway on this machine: ${status}`)
      for (const reason of reasons) printLine(reason)
    }
    return ok ? 0 : 1
  },
})

/** What the gateway with this cache says of itself; undefined where none runs, or this user may not ask. */
async function gatewayState({ cache }: Config): Promise<ToldReadiness | undefined> {
  const told = await askReadiness(cache.dir)
  return typeof told === 'string' ? undefined : told
}

/** Of the store that replicas share; undefined where none is configured. */
async function storeState(config: Config) {
  if (config.cache.shared === undefined) return undefined
  const problem = await judgeSharedStore(config)
  return problem === undefined
    ? { ok: true as const }
    : { ok: false as const, problem: `${problem.path}: ${problem.message}` }
}

/** All upstreams, or those that are named. Throws UsageError with every name that is none. */
function chosenNames({ upstreams }: Config, given: readonly string[]): ReadonlySet<string> {
  const known = Object.keys(upstreams)
  const findUpstream = createUpstreamFinder(known)
  const found = given.map((name) => ({ name, upstream: findUpstream(name) }))
  const there = known.length === 0 ? 'the config has none' : `there are ${known.join(', ')}`
  const problems = found
    .filter(({ upstream }) => upstream === undefined)
    .map(({ name }) => ({ path: name, message: `is no configured upstream; ${there}` }))
  if (known.length === 0 && given.length === 0) {
    problems.push({ path: 'upstreams', message: 'is empty: there is nothing to ask' })
  }
  if (problems.length > 0) throw new UsageError(problems)
  const chosen = found.flatMap(({ upstream }) => upstream ?? [])
  return new Set(given.length === 0 ? known : chosen)
}

/** The image as its one upstream knows it: Docker Hub's `alpine` is `library/alpine`. */
function chosenImage(config: Config, names: ReadonlySet<string>, text: string): Image {
  const problem = (message: string) => new UsageError([{ path: '--image', message }])
  const [upstream = '', ...others] = names
  if (others.length > 0) {
    throw problem('is of one upstream: name that one behind it')
  }
  try {
    const { repository, reference } = parseUpstreamImage(text)
    const place = createChooser(config)({ ns: upstream, name: repository })
    return { repository: place.repository, reference }
  } catch (error) {
    if (!(error instanceof GatewayError)) throw error
    throw problem(`${JSON.stringify(text)} is no REPOSITORY[:TAG] of ${upstream}: ${error.message}`)
  }
}
