import { Component, type ReactNode } from "react";
import { Button } from "./Button";
import { Problem } from "./Problem";

/** Keeps a fault of one piece to that piece: the rest of the window goes on. */
export class Boundary extends Component<{ what: string; children: ReactNode }, { failure: Error | undefined }> {
  override state: { failure: Error | undefined } = { failure: undefined };

  static getDerivedStateFromError(failure: unknown): { failure: Error } {
    return { failure: failure instanceof Error ? failure : new Error(String(failure)) };
  }

  override componentDidCatch(failure: unknown): void {
    console.error(`${this.props.what} failed:`, failure);
  }

  override render(): ReactNode {
    const { failure } = this.state;
    if (!failure) return this.props.children;
    return (
      <div style={{ padding: 28 }}>
        <Problem message={`${this.props.what} could not be shown: ${failure.message}`} remedy="This is a fault of Terrarium. Machines are not affected.">
          <Button small onClick={() => this.setState({ failure: undefined })}>
            Try again
          </Button>
        </Problem>
      </div>
    );
  }
}
