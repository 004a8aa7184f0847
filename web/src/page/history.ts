/** What the sliders said at each state of the mask that undo can go back to. */

export class History<State> {
  private past: State[] = [];

  constructor(private readonly most: number) {}

  get canUndo(): boolean {
    return this.past.length > 1;
  }

  /** Begin anew with one state, to which nothing goes back. */
  begin(state: State): void {
    this.past = [state];
  }

  add(state: State): void {
    this.past = [...this.past, state].slice(-this.most);
  }

  /** Go back by one, and get the state that is then in force. */
  undo(): State | null {
    if (!this.canUndo) return null;
    this.past = this.past.slice(0, -1);
    return this.past.at(-1)!;
  }
}
