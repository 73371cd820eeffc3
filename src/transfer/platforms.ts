// Which entries of an image index somebody wants: all, or those for some platforms.
import { UsageError } from '../errors.ts'
import type { ImageDescriptor } from './documents.ts'
import { platformOf } from './archive/oci-graph.ts'

/** `os/arch` stands for all its variants. */
export type Platforms = 'all' | readonly string[]

/** By buildkit: the manifest that an attestation in the same index is about. */
const attestedKey = 'vnd.docker.reference.digest'

/** Reads `--platform`: `all` or `linux/amd64,linux/arm/v7`. Throws UsageError. */
export function parsePlatforms(text: string): Platforms {
  if (text === 'all') return 'all'
  const platforms = text.split(',').map((platform) => platform.trim())
  const problems = platforms
    .filter((platform) => !/^[a-z0-9]+\/[a-z0-9]+(\/[a-z0-9.]+)?$/.test(platform))
    .map((platform) => ({
      path: '--platform',
      message: `${JSON.stringify(platform)} is no platform: write all, or some such as linux/amd64,linux/arm/v7`,
    }))
  if (problems.length > 0) throw new UsageError(problems)
  return platforms
}

/** The entries that are wanted; what is for no platform always is, an attestation with its image. */
export function wantedEntries(
  entries: readonly ImageDescriptor[],
  platforms: Platforms,
): ImageDescriptor[] {
  if (platforms === 'all') return [...entries]
  const isWanted = (entry: ImageDescriptor): boolean => {
    const attested = entry.annotations?.[attestedKey]
    if (attested !== undefined) {
      return entries.some((other) => other.digest === attested && isWanted(other))
    }
    return entry.platform === undefined || platforms.some((platform) => isFor(entry, platform))
  }
  return entries.filter(isWanted)
}

/** Those of `platforms` that no entry is for. */
export function absentOf(entries: readonly ImageDescriptor[], platforms: Platforms): string[] {
  if (platforms === 'all') return []
  return platforms.filter((platform) => !entries.some((entry) => isFor(entry, platform)))
}

function isFor(entry: ImageDescriptor, platform: string): boolean {
  return `${canonical(platformOf(entry))}/`.startsWith(`${canonical(platform)}/`)
}

/** A 64-bit ARM is of variant 8 whether that is said or not. */
function canonical(platform: string): string {
  return platform.replace(/\/arm64\/v8$/, '/arm64')
}
