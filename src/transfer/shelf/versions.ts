// The newest of tags, by semantic version. Pure.
import { compare, parse, type SemVer } from 'semver'

/**
 * The highest `count` of the tags that are versions (`1.2`, `v1.2.3`, `1.2.3-alpine`), the highest
 * first. Pre-releases, and whatever else has a `-`, are among them only `withSuffix`.
 */
export function newestOf(
  tags: readonly string[],
  { count, withSuffix }: { count: number; withSuffix: boolean },
): string[] {
  return tags
    .flatMap((tag): { tag: string; version: SemVer }[] => {
      const version = versionOf(tag)
      const isMeant = version !== undefined && (withSuffix || version.prerelease.length === 0)
      return isMeant ? [{ tag, version }] : []
    })
    .sort((one, other) => compare(other.version, one.version) || (one.tag < other.tag ? -1 : 1))
    .slice(0, count)
    .map(({ tag }) => tag)
}

/** What a version leaves out is 0, as in `1.2`. */
function versionOf(tag: string): SemVer | undefined {
  const match = /^v?(\d+)(?:\.(\d+))?(?:\.(\d+))?(-[0-9A-Za-z.-]+)?$/.exec(tag)
  if (match === null) return undefined
  const [major = '', minor = '0', patch = '0', suffix = ''] = match.slice(1)
  return parse(`${major}.${minor}.${patch}${suffix}`, { loose: true }) ?? undefined
}
