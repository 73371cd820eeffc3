// Follows the config and the files that it names: everything is prepared here and swapped at once.
import { filesNamedBy } from './config/files.ts'
import { fixedKeys } from './config/restart-keys.ts'
import type { Config } from './config/schema.ts'
import {
  createReloader,
  problemsOf,
  type Prepared,
  type PreparedPart,
  type Reloader,
  type ReloadResult,
  type ReloadScope,
} from './listener/reload.ts'
import { renewalOf, type ListenerRenewal } from './listener/reload-tls.ts'
import type { ListenerServer } from './listener/server.ts'
import { createCrlFiles, type CrlFiles } from './listener/trust/crl-files.ts'
import { prepareLive, type Live, type Reporting } from './live.ts'
import { openIdentities } from './upstream/endpoints/files.ts'

/** What is in use now, and since when its files may have changed. */
export interface Current {
  live: Live
  started: number
}

export interface RenewalOptions extends Reporting {
  current: Current
  servers: readonly ListenerServer[]
  /** Where the config comes from; without it, it stays. */
  source?: { file: string; load: () => Promise<Config> } | undefined
  /** Called when something else is in use; must not fail. */
  onTaken: () => void
  /** Called once for each part that was reloaded or refused. */
  onResult: (result: ReloadResult) => void
}

export function followFiles(options: RenewalOptions): Reloader {
  const { current, servers, source, log, onTaken } = options
  const first = current.live.config
  const renewals = servers.map(renewalOf).filter((renewal) => renewal !== undefined)
  const lists = createCrlFiles()
  /** What was read last: where it was refused, its files may be put right. */
  let seen = first

  async function prepareEverything(): Promise<Prepared> {
    const next = (await source?.load()) ?? current.live.config
    seen = next
    const identities = await openIdentities(next.upstreams)
    const listeners: Awaited<ReturnType<typeof prepareListener>>[] = []
    for (const renewal of renewals) listeners.push(await prepareListener(renewal, next, lists))
    const live = await prepared('config', () => prepareLive(next, identities, options))
    const problems = [...fixedKeys(first, next), ...live.part.problems]
    return {
      parts: [{ ...live.part, problems }, ...listeners.map(({ part }) => part)],
      take() {
        live.value?.begin()
        const before = current.live
        current.live = live.value ?? before
        for (const { value } of listeners) value?.take()
        // Another by the admin API stays until the config has another.
        if (before.config.log.level !== next.log.level) log.level = next.log.level
        onTaken()
        void before.close()
      },
      discard: () => void live.value?.close(),
    }
  }

  const everything: ReloadScope = {
    name: 'config',
    files: () => [
      ...(source === undefined ? [] : [source.file]),
      ...filesNamedBy(current.live.config),
      ...(seen === current.live.config ? [] : [...filesNamedBy(seen), ...listenerFiles(seen)]),
    ],
    prepare: prepareEverything,
  }

  function listenerFiles(config: Config): string[] {
    return renewals.flatMap((renewal) => renewal.files(config[renewal.section].tls))
  }

  return createReloader({
    everything,
    listeners: renewals.map((renewal) => ({
      name: renewal.section,
      files: () => renewal.files(current.live.config[renewal.section].tls),
      async prepare() {
        const { part, value } = await prepareListener(renewal, current.live.config, lists)
        return {
          parts: [part],
          take() {
            value?.take()
            onTaken()
          },
          discard: () => undefined,
        }
      },
    })),
    log,
    since: current.started,
    onResult: options.onResult,
  })
}

async function prepareListener(renewal: ListenerRenewal, config: Config, lists: CrlFiles) {
  const { section } = renewal
  const { part, value } = await prepared(section, () => renewal.prepare(config[section].tls, lists))
  return { part: { ...part, ...(value && { facts: value.facts }) }, value }
}

async function prepared<Value>(
  part: string,
  prepare: () => Value | Promise<Value>,
): Promise<{ part: PreparedPart; value?: Value }> {
  try {
    return { part: { part, problems: [] }, value: await prepare() }
  } catch (error) {
    return { part: { part, problems: problemsOf(part, error) } }
  }
}
