/** The question that stands before what cannot be undone. */
export interface Question {
  title: string;
  text: string;
  action: string;
}

class Confirmation {
  question = $state<Question | null>(null);
  private settle: (yes: boolean) => void = () => {};

  ask(question: Question): Promise<boolean> {
    this.settle(false);
    this.question = question;
    return new Promise((resolve) => (this.settle = resolve));
  }

  answer(yes: boolean): void {
    this.question = null;
    this.settle(yes);
    this.settle = () => {};
  }
}

export const confirmation = new Confirmation();
