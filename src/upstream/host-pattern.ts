// Matches hosts against the patterns of the config (`redirects`, `realms`), where `*` stands for any
// run of characters of a host name.
import { compileGlob } from '../rules/glob.ts'

/**
 * Whether a URL's host matches one of `patterns`. A pattern without a port means the default port
 * of the URL's scheme.
 */
export function hostMatcher(patterns: readonly string[]): (url: URL) => boolean {
  const compiled = patterns.map((pattern) => {
    const [, port = ''] = /:(\d+)$/.exec(pattern) ?? []
    const host = port === '' ? pattern : pattern.slice(0, -port.length - 1)
    return { host: compileGlob(host, undefined), port }
  })
  return ({ hostname, port }) =>
    compiled.some((pattern) => pattern.port === port && pattern.host.matches(hostname))
}
