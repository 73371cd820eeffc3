// What is allowed in a policy and yet hardly meant: rules that cannot be reached, patterns for
// upstreams that are not configured, and names that no caller here can have.
import type { AuthConfig, PolicyConfig, RuleConfig, WhoConfig } from '../config/access-schema.ts'
import { compileGlob, coversGlob } from '../rules/glob.ts'
import { actionsOf, nameOfRule } from './policy.ts'
import { coversWho } from './who.ts'

export interface PolicyWarning {
  /** Keys from the top of the config. */
  at: readonly string[]
  message: string
}

export interface PolicySetting {
  policy: PolicyConfig
  auth: AuthConfig
  /** Names of the configured upstreams. */
  upstreams: readonly string[]
  /** Whether the listener asks for client certificates. */
  certificates: boolean
}

export function policyWarnings(setting: PolicySetting): PolicyWarning[] {
  const { rules } = setting.policy
  return rules.flatMap((rule, index) => {
    const at = ['policy', 'rules', String(index)]
    return [
      ...unreachable(rules.slice(0, index), rule).map((message) => ({ at, message })),
      ...foreignPatterns(rule, setting.upstreams).map(({ pattern, message }) => ({
        at: [...at, 'repositories', String(pattern)],
        message,
      })),
      ...emptyWho(rule.who ?? {}, setting).map(({ key, message }) => ({
        at: [...at, 'who', key],
        message,
      })),
    ]
  })
}

/** Only what a single earlier rule covers is found. */
function unreachable(earlier: readonly RuleConfig[], rule: RuleConfig): string[] {
  const index = earlier.findIndex(
    (other) =>
      actionsOf(rule).every((action) => actionsOf(other).includes(action)) &&
      rule.repositories.every((inner) =>
        other.repositories.some((outer) => coversGlob(outer, inner, '/')),
      ) &&
      coversWho(other.who, rule.who),
  )
  const by = earlier[index]
  if (by === undefined) return []
  return [`can never be reached: ${nameOfRule(by, index)} matches all of it before`]
}

function foreignPatterns({ repositories }: RuleConfig, upstreams: readonly string[]) {
  return repositories.flatMap((pattern, index) => {
    const [first = ''] = pattern.split('/')
    const upstream = compileGlob(first, undefined)
    if (first === '**' || upstreams.some((name) => upstream.matches(name))) {
      if (pattern.includes('/') || first === '**') return []
      const message = `${pattern} matches no repository: write ${pattern}/** for all of the upstream`
      return [{ pattern: index, message }]
    }
    const known = upstreams.length > 0 ? `there are ${upstreams.join(', ')}` : 'there is none'
    return [{ pattern: index, message: `${pattern} matches no configured upstream; ${known}` }]
  })
}

function emptyWho(who: WhoConfig, { auth, certificates }: PolicySetting) {
  const warnings: { key: string; message: string }[] = []
  const tokens = auth.issuers.length > 0 || auth.tokenService !== undefined
  const ofToken = who.issuer === undefined ? [] : ['subject']
  for (const key of Object.keys(who)) {
    if (['issuer', 'group', 'claim', ...ofToken].includes(key)) {
      if (!tokens) warnings.push({ key, message: 'matches nobody: auth has no issuer of tokens' })
    } else if (key !== 'anonymous' && !certificates) {
      warnings.push({ key, message: 'matches nobody: listen.tls.clientAuth is none' })
    }
  }
  const issuers = auth.issuers.length + (auth.tokenService === undefined ? 0 : 1)
  if (issuers > 1 && who.issuer === undefined) {
    for (const key of ['group', 'claim'] as const) {
      const message = 'is believed from every issuer: set who.issuer as well'
      if (who[key] !== undefined) warnings.push({ key, message })
    }
  }
  return warnings
}
