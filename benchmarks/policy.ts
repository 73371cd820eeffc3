// How many decisions per second does the policy make, for callers that it has seen before?
// `node benchmarks/policy.ts`: 1,000 rules, one core, bounded to a few seconds.
import { createPolicy, type Policy } from '../src/policy/policy.ts'
import type { Subject } from '../src/policy/subject.ts'

const rules = 1000
const callers = 100
const repositories = 50
const seconds = 2

const policy = createPolicy({
  default: 'deny',
  rules: Array.from({ length: rules }, (_, index) => ({
    who: { cn: [`site-${index}-*`] },
    repositories: [`docker.io/team-${index}/**`, `quay.io/*/app-${index}`],
    actions: ['pull' as const, 'list' as const],
    effect: 'allow' as const,
  })),
})
const subjects = Array.from({ length: callers }, (_, index) => subject(`site-${index * 10}-node`))
const names = Array.from({ length: repositories }, (_, index) => `docker.io/team-${index * 20}/app`)

const first = rate(policy, 1)
const again = rate(policy, Infinity)
process.stdout.write(
  `${rules} rules, ${callers} callers x ${repositories} repositories
first decision of each pair:  ${Math.round(first).toLocaleString('en')} per second
seen before:                  ${Math.round(again).toLocaleString('en')} per second
ratio:                        ${(again / first).toFixed(0)}x
`,
)

/** Decisions per second over as many rounds as fit, at most `rounds`. */
function rate({ decide }: Policy, rounds: number): number {
  const started = performance.now()
  let decisions = 0
  for (let round = 0; round < rounds && performance.now() - started < seconds * 1000; round += 1) {
    for (const caller of subjects) for (const name of names) decide(caller, 'pull', name)
    decisions += callers * repositories
  }
  return (decisions / (performance.now() - started)) * 1000
}

function subject(commonName: string): Subject {
  const names = { commonName, subject: `CN=${commonName}`, dnsNames: [], uris: [] }
  return { key: `certificate ${commonName}`, certificate: names }
}
