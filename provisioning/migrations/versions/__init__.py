"""Steps, the oldest first. A step that was released is never changed; a change is a new step."""
