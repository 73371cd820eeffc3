// Who may do what: rules compiled once, decided in order, the decisions remembered.
import { LRUCache } from 'lru-cache'
import type { PolicyConfig, RuleConfig } from '../config/access-schema.ts'
import { compileGlob } from '../rules/glob.ts'
import type { Subject } from './subject.ts'
import { compileWho, type Who } from './who.ts'

/** What may be asked for; `admin` of a rule means both of the kind. */
export type Action = Exclude<RuleConfig['actions'][number], 'admin'>

export interface Decision {
  allowed: boolean
  /** The rule's name or place (`rules.3`), `default`, or `token` where its access list decided. */
  rule: string
  /** One sentence for the log and for `check --as`; never sent to a client. */
  reason: string
}

export interface Policy {
  /** `repository` is `<upstream>/<repository>`. Pure but for its memory. */
  decide: (subject: Subject, action: Action, repository: string) => Decision
}

interface CompiledRule {
  who: Who
  repositories(repository: string): boolean
  actions: ReadonlySet<Action>
  decision: Decision
}

/** Characters of the keys of the decisions that are remembered: some 30,000 of them. */
const remembered = 4 * 2 ** 20
/** Characters of a key that is remembered at all: a token's scope may be of any length. */
const longestKey = 1024

/**
 * What the first matching rule says, or the default. A token with an access list narrows that: it
 * never allows what the rules refuse, and nothing that it does not list is allowed.
 */
export function createPolicy(config: PolicyConfig): Policy {
  const rules = config.rules.map(compileRule)
  const byDefault: Decision = {
    allowed: config.default === 'allow',
    rule: 'default',
    reason: `no rule matches, and policy.default is ${config.default}`,
  }
  const memory = new LRUCache<string, Decision>({
    maxSize: remembered,
    sizeCalculation: (_decision, key) => key.length,
  })

  return {
    decide(subject, action, repository) {
      const key = `${action} ${repository} ${subject.key}`
      const known = memory.get(key)
      if (known !== undefined) return known
      const decision = evaluate(rules, byDefault, subject, action, repository)
      if (key.length <= longestKey) memory.set(key, decision)
      return decision
    },
  }
}

/** What a rule is about. */
export function actionsOf({ actions }: RuleConfig): Action[] {
  return actions.flatMap((action): Action[] =>
    action === 'admin' ? ['admin:read', 'admin:write'] : [action],
  )
}

/** What the log calls a rule: its name, or its place in the list. */
export function nameOfRule({ name }: RuleConfig, index: number): string {
  return name ?? `rules.${index}`
}

function compileRule(rule: RuleConfig, index: number): CompiledRule {
  const globs = rule.repositories.map((pattern) => compileGlob(pattern, '/'))
  const name = nameOfRule(rule, index)
  return {
    who: compileWho(rule.who),
    repositories: (repository) => globs.some((glob) => glob.matches(repository)),
    actions: new Set(actionsOf(rule)),
    decision: {
      allowed: rule.effect === 'allow',
      rule: name,
      reason: `${name} is the first rule that matches, and its effect is ${rule.effect}`,
    },
  }
}

const unlisted: Decision = {
  allowed: false,
  rule: 'token',
  reason: 'the access list of the token does not name the repository',
}

function evaluate(
  rules: readonly CompiledRule[],
  byDefault: Decision,
  subject: Subject,
  action: Action,
  repository: string,
): Decision {
  const access = subject.token?.access
  const listed =
    access === undefined || access.pull.has(repository) || (action === 'list' && access.catalog)
  const matching = rules.find(
    (rule) => rule.actions.has(action) && rule.repositories(repository) && rule.who(subject),
  )
  const decision = matching?.decision ?? byDefault
  return decision.allowed && !listed ? unlisted : decision
}
