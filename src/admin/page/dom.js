// Makes and replaces elements. Text only ever becomes text: what a registry says is no markup.

/** @typedef {Node | string | undefined | false} Child */

/**
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, string | number | boolean | undefined | ((event: Event) => void)>} [attributes]
 *   functions listen to the event of their name
 * @param {...Child} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag)
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === 'function') element.addEventListener(name, value)
    else if (value === true) element.setAttribute(name, '')
    else if (value !== undefined && value !== false) element.setAttribute(name, String(value))
  }
  element.append(...children.filter((child) => child !== undefined && child !== false))
  return element
}

/**
 * The element of the page with this id.
 * @param {string} id
 */
export function find(id) {
  const element = document.getElementById(id)
  if (element === null) throw new Error(`the page has no #${id}`)
  return element
}

/**
 * Shows other content; what has the focus in it keeps that, where it has an id.
 * @param {string} id
 * @param {...Child} children
 */
export function fill(id, ...children) {
  const place = find(id)
  const focused = document.activeElement
  const focusedId = focused !== null && place.contains(focused) ? focused.id : ''
  place.replaceChildren(...children.filter((child) => child !== undefined && child !== false))
  if (focusedId !== '') document.getElementById(focusedId)?.focus()
}

/**
 * A table that becomes a list of cards where there is no room for it.
 * @param {string} label
 * @param {readonly string[]} titles
 * @param {readonly (readonly Child[])[]} rows
 */
export function table(label, titles, rows) {
  // Laid out as cards it would be no table to a screen reader but for the roles.
  return make(
    'table',
    { role: 'table', 'aria-label': label },
    make(
      'thead',
      { role: 'rowgroup' },
      make(
        'tr',
        { role: 'row' },
        ...titles.map((title) => make('th', { role: 'columnheader', scope: 'col' }, title)),
      ),
    ),
    make(
      'tbody',
      { role: 'rowgroup' },
      ...rows.map((row) =>
        make(
          'tr',
          { role: 'row' },
          ...row.map((cell, index) =>
            make('td', { role: 'cell', 'data-title': titles[index] }, cell),
          ),
        ),
      ),
    ),
  )
}

/** @param {string} text */
export function nothing(text) {
  return make('p', { class: 'nothing' }, text)
}
