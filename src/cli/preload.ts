// `portcullis preload`: images of upstreams into the cache, before anybody asks for them.
import { uncounted } from '../cache/context.ts'
import { openCache } from '../cache/open-cache.ts'
import { loadConfig } from '../config/load.ts'
import type { Config } from '../config/schema.ts'
import { roughSize } from '../config/units.ts'
import { UsageError } from '../errors.ts'
import { createLog, type Log } from '../log/log.ts'
import { readImageList } from '../transfer/image-list.ts'
import { formatImage, namingOf, type ImageName } from '../transfer/image-name.ts'
import { parsePlatforms } from '../transfer/platforms.ts'
import { preloadImages, type PreloadOptions, type PreloadSummary } from '../transfer/preload.ts'
import { openIdentities } from '../upstream/endpoints/files.ts'
import { createPacer } from '../upstream/pace/pacer.ts'
import { createUpstreams } from '../upstream/upstreams.ts'
import { defineCommand } from './command.ts'
import { configFile, configOption, jsonOption } from './options.ts'
import { printJson, printLine, printNote } from './output/print.ts'
import { openBars } from './output/progress.ts'

export const command = defineCommand({
  usage:
    'preload LIST|IMAGE ... [--platform all|OS/ARCH[/VARIANT],...] [--jobs N] [--config FILE] [--json]',
  summary:
    'Pulls images, with all their platforms and referrers, into the cache; a LIST is a file with an image per line.',

  options: {
    platform: {
      type: 'string',
      default: 'all',
      value: 'OS/ARCH[/VARIANT],...',
      help: 'which platforms of an image',
    },
    jobs: { type: 'string', default: '4', value: 'N', help: 'how many images at once' },
    config: configOption,
    json: jsonOption,
  },
  takesArguments: true,

  async run({ values, positionals }) {
    if (positionals.length === 0) {
      const message = 'is missing: name images, or files that list them'
      throw new UsageError([{ path: 'IMAGE', message }])
    }
    const options = { platforms: parsePlatforms(values.platform), jobs: parseJobs(values.jobs) }
    const config = await loadConfig(configFile(values.config))
    const names = await readImageList(positionals, namingOf(config))
    const { summary, problems } = await preload(config, names, options)
    tell(summary, problems, values.json)
    return summary.failed.length + problems.length === 0 ? 0 : 1
  },
})

function parseJobs(text: string): number {
  if (/^[1-9]\d?$/.test(text)) return Number(text)
  throw new UsageError([{ path: '--jobs', message: 'must be a number from 1 to 99' }])
}

interface Outcome {
  summary: PreloadSummary
  /** What keeps the cache from storing. */
  problems: string[]
}

async function preload(
  config: Config,
  names: readonly ImageName[],
  options: Pick<PreloadOptions, 'platforms' | 'jobs'>,
): Promise<Outcome> {
  const log = await createLog({ ...config.log, level: 'warn' }, process.stderr.fd)
  const bars = openBars()
  try {
    const { upstreams, cache } = await open(config, log.logger)
    try {
      const onImage: PreloadOptions['onImage'] = (label, bytes) => bars.begin(label, bytes)
      const summary = await preloadImages(names, { ...options, cache, onImage })
      return { summary, problems: await cache.problems() }
    } finally {
      await cache.close()
      await upstreams.close()
    }
  } finally {
    bars.stop()
    log.close()
  }
}

/** As the gateway does it, but for what is counted. */
async function open(config: Config, log: Log['logger']) {
  const ignore = () => undefined
  const metrics = { attempt: ignore, badAnswer: ignore, insecureUpstreams: ignore }
  const identities = await openIdentities(config.upstreams)
  const upstreams = createUpstreams({ upstreams: config.upstreams, identities, log, metrics })
  upstreams.announce()
  const cache = openCache({
    ...config.cache,
    openUpstream: createPacer({
      openUpstream: upstreams.open,
      maxRateOf: (upstream) => config.upstreams[upstream]?.maxRate,
    }),
    freshnessOf: (upstream) => config.upstreams[upstream] ?? { tagTtl: 0, staleIfError: 0 },
    offline: (upstream) => config.offline || config.upstreams[upstream]?.offline === true,
    report: (upstream, error) => upstreams.report(upstream, error),
    log,
    metrics: uncounted,
  })
  return { upstreams, cache }
}

function tell(
  { preloaded, failed }: PreloadSummary,
  problems: readonly string[],
  json: boolean,
): void {
  if (json) {
    const withName = <T extends { name: ImageName }>(entry: T) => ({
      ...entry,
      name: formatImage(entry.name),
    })
    const all = { preloaded: preloaded.map(withName), failed: failed.map(withName), problems }
    printJson(all)
    return
  }
  for (const { name, digest, bytes, fetched, referrers, isStale, doubts } of preloaded) {
    const sizes = `${roughSize(bytes)}, ${roughSize(fetched)} new, ${referrers.length} referrers`
    const stale = isStale ? '; the upstream could not be asked whether it is current' : ''
    printLine(`${formatImage(name)} ${digest} (${sizes}${stale})`)
    for (const doubt of doubts) printNote(`without: ${formatImage(name)}: ${doubt}`)
  }
  const fetched = preloaded.reduce((sum, image) => sum + image.fetched, 0)
  const counts = `${preloaded.length} preloaded, ${failed.length} failed`
  printLine(`${counts}, ${roughSize(fetched)} new`)
  for (const { name, message } of failed) {
    printNote(`failed: ${formatImage(name)}: ${message}`)
  }
  for (const problem of problems) printNote(`failed: ${problem}`)
}
